import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from narrows.codecs import ARD, Rounding
from narrows.errors import InputError


def trained(rounding: Rounding | None, channels: int = 8) -> tuple[ARD, Tensor]:
    """An ARD of data (1, 6, 500) that has three dimensions."""
    torch.manual_seed(0)
    z = torch.randn(6, 3) @ torch.randn(3, 500)
    bottleneck = ARD(6, channels, rounding, decay=0.9)
    optimizer = torch.optim.Adam(bottleneck.parameters(), lr=0.02)
    for _ in range(400):
        quantized = bottleneck(z[None])
        loss = 20 * (quantized.latents - z).square().mean() + quantized.losses["kl"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return bottleneck.eval(), z[None]


@pytest.mark.parametrize("rounding", [None, Rounding(0.25, 8.0)])
def test_the_dimensions_of_the_data_are_found_and_the_rest_is_pruned(rounding: Rounding | None) -> None:
    bottleneck, z = trained(rounding)
    assert len(bottleneck.active()) == 3
    assert bottleneck.relevance.sum().item() == pytest.approx(1, abs=1e-5)
    pruned = bottleneck.prune()
    assert pruned.channels == 3
    assert not pruned.training
    if rounding:
        assert len(pruned.codebook_sizes) == 3
    before, after = ((made(z).latents - z).square().mean() for made in (bottleneck, pruned))
    assert after < before + 0.02 * z.square().mean()


def test_all_channels_kept_change_nothing() -> None:
    bottleneck, z = trained(None, channels=3)
    whole = bottleneck.prune(fraction=1.0)
    assert whole.channels == 3
    torch.testing.assert_close(whole(z).latents, bottleneck(z).latents)


def test_nothing_is_pruned_before_training() -> None:
    with pytest.raises(InputError, match="train it first"):
        ARD().prune()


def test_two_forwards_before_one_backward() -> None:
    bottleneck, z = ARD(4, 3), torch.randn(2, 4, 5)
    (bottleneck(z).losses["kl"] + bottleneck(z).losses["kl"]).backward()


SCRIPT = """
import sys
import torch
from torch import distributed
from narrows.codecs import ARD

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
torch.manual_seed(0)
bottleneck = ARD(4, 3)
z = torch.randn(2, 4, 7)
bottleneck(z[rank : rank + 1])
torch.save((bottleneck.mean, bottleneck.prior), f"{folder}/{rank}.pt")
distributed.barrier()
distributed.destroy_process_group()
"""


def test_moments_are_those_of_the_whole_batch_on_both_ranks(tmp_path: Path) -> None:
    children = [subprocess.Popen([sys.executable, "-c", SCRIPT, str(rank), str(tmp_path)]) for rank in range(2)]
    try:
        assert [child.wait(120) for child in children] == [0, 0]
    finally:
        for child in children:
            child.kill()
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    torch.manual_seed(0)
    whole = ARD(4, 3)
    whole(torch.randn(2, 4, 7))
    for a, b, expected in zip(*found, (whole.mean, whole.prior), strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, expected)
