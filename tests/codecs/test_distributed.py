"""Two processes that see different data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from narrows.codecs import distributed as ranks

SCRIPT = """
import sys
import torch
from torch import distributed, nn
from narrows.codecs import ARD, VQ, EMACodebook, LearnedCodebook, StraightThrough, VectorQuantizePytorch
from narrows.codecs import distributed as ranks

torch.set_num_threads(1)
torch.manual_seed(100)
options = (("codebook_size", 32), ("decay", 0.8), ("threshold_ema_dead_code", 2))
made = {
    "ema": VQ(4, EMACodebook(4, 32, 0.8), StraightThrough()),
    "learned": VQ(4, LearnedCodebook(4, 32, 0.8), StraightThrough()),
    "package": VectorQuantizePytorch(4, "VectorQuantize", (*options, ("kmeans_init", True))),
    "package-cosine": VectorQuantizePytorch(4, "VectorQuantize", (*options, ("use_cosine_sim", True))),
    "package-heads": VectorQuantizePytorch(
        4, "VectorQuantize", (*options, ("heads", 2), ("separate_codebook_per_head", True), ("codebook_dim", 2))),
    "package-residual": VectorQuantizePytorch(
        4, "ResidualVQ", (*options, ("num_quantizers", 3), ("quantize_dropout", True), ("kmeans_init", True))),
    "package-grouped": VectorQuantizePytorch(4, "GroupedResidualVQ", (*options, ("groups", 2), ("num_quantizers", 2))),
    "ard": ARD(4, 3),
}
distributed.init_process_group("gloo")
rank = ranks.rank()
torch.manual_seed(rank)
seen = {"states": {}}
for name, bottleneck in made.items():
    bottleneck.train()
    for step in range(30):
        shift = 6.0 * rank + (20.0 if step > 5 else 0.0)  # the jump leaves codes behind, which then start anew
        bottleneck(shift + torch.randn(1, 4, 200 + 56 * rank))
    seen["states"][name] = bottleneck.state_dict()

torch.manual_seed(rank)
layer = nn.ModuleDict({"used": nn.Linear(3, 2), "once": nn.Linear(3, 2), "never": nn.Linear(3, 2)})
layer["frozen"] = nn.BatchNorm1d(2).requires_grad_(False)
ranks.broadcast(layer)
seen["weights"] = layer.state_dict()
loss = layer["used"](torch.full((1, 3), 1.0 + rank)).sum()
if rank:
    loss = loss + layer["once"](torch.ones(1, 3)).sum()
loss.backward()
ranks.average_gradients(layer.parameters())
seen["gradients"] = [None if p.grad is None else p.grad.flatten()[0].item() for p in layer.parameters()]
seen["objects"] = ranks.gather_objects({"rank": rank})
x = torch.full((2, 3), 1.0 + rank, requires_grad=True)
weights = torch.arange(12.0).view(4, 3)
(ranks.gather(x) * weights * (1 + rank)).sum().backward()
seen["gathered"], seen["gather_gradient"] = ranks.gather(x.detach()), x.grad
torch.save(seen, f"{sys.argv[1]}/{rank}.pt")
ranks.leave()
assert not distributed.is_initialized()
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, two_ranks: Callable[..., None]) -> list[dict[str, Any]]:
    """What each rank has seen."""
    folder: Path = tmp_path_factory.mktemp("ranks")
    two_ranks(SCRIPT, str(folder))
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_ranks_hold_the_same_codebooks(seen: list[dict[str, Any]]) -> None:
    first, second = (rank["states"] for rank in seen)
    for bottleneck, state in first.items():
        for name, value in state.items():
            assert torch.equal(value, second[bottleneck][name]), (bottleneck, name)


@pytest.mark.parametrize(("bottleneck", "name"), [
    ("ema", "codebook.vectors"), ("learned", "codebook.vectors"), ("package", "quantizer._codebook.embed"),
])  # fmt: skip
def test_codes_are_drawn_from_the_data_of_both_ranks(bottleneck: str, name: str, seen: list[dict[str, Any]]) -> None:
    codes = seen[0]["states"][bottleneck][name].view(-1, 4)
    near = [(codes - (20 + shift)).norm(dim=1) < 4 for shift in (0, 6)]
    assert min(int(some.sum()) for some in near) > 8


def test_all_ranks_get_the_weights_of_the_first(seen: list[dict[str, Any]]) -> None:
    first, second = (rank["weights"] for rank in seen)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_gradients_are_averaged_and_missing_ones_count_as_zero(seen: list[dict[str, Any]]) -> None:
    assert seen[0]["gradients"] == seen[1]["gradients"] == [1.5, 1.0, 0.5, 0.5, None, None, None, None]


def test_gathering_keeps_the_order_of_the_ranks_and_sums_their_gradients(seen: list[dict[str, Any]]) -> None:
    weights = torch.arange(12.0).view(4, 3)
    for rank, result in enumerate(seen):
        assert result["objects"] == [{"rank": 0}, {"rank": 1}]
        assert result["gathered"].tolist() == [[1.0] * 3] * 2 + [[2.0] * 3] * 2
        torch.testing.assert_close(result["gather_gradient"], 3 * weights[2 * rank : 2 * rank + 2])


def test_one_process_is_its_own_first_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(2, 3)
    assert (ranks.count(), ranks.rank(), ranks.gather_objects(7)) == (1, 0, [7])
    assert ranks.gather(x) is x
    ranks.leave()
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    assert ranks.is_launched_first()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not ranks.is_launched_first()
