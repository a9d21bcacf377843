import pytest
import torch

from narrows.codecs import FSQ, LFQ, Gaussian, Ordered, ResidualFSQ, Rounding
from narrows.errors import InputError


def test_items_keep_a_prefix_of_the_blocks_and_its_bits() -> None:
    torch.manual_seed(0)
    bottleneck = Ordered([FSQ(4, (5, 5)) for _ in range(3)]).train()
    quantized = bottleneck(torch.randn(64, 4, 3))
    kept = (quantized.bits / (3 * 2 * 2.321928)).round().long().tolist()
    assert set(kept) == {1, 2, 3}
    for item, blocks in enumerate(kept):
        expected = bottleneck.decode(quantized.codes[item : item + 1, :blocks])
        torch.testing.assert_close(quantized.latents[item : item + 1], expected, atol=1e-6, rtol=0)


def test_dropped_blocks_get_no_gradient() -> None:
    torch.manual_seed(1)
    bottleneck = Ordered([FSQ(4, (5, 5)) for _ in range(3)]).train()
    quantized = bottleneck(torch.randn(1, 4, 3))
    quantized.latents.sum().backward()
    kept = round(quantized.bits.item() / (3 * 2 * 2.321928))
    assert kept < 3
    gradients = [block.project_in.weight.grad.abs().sum().item() > 0 for block in bottleneck.blocks]  # type: ignore
    assert gradients == [i < kept for i in range(3)]


def test_prefixes_are_those_of_the_blocks_and_within_them() -> None:
    blocks = [FSQ(4, (5, 3), groups=2), ResidualFSQ(4, (3, 3), stages=3), LFQ(4, 5)]
    assert Ordered(blocks).prefixes == (2, 3, 4, 5, 6)
    assert Ordered(blocks, dropout=0.0).prefixes == (6,)


def test_continuous_blocks_have_prefixes_without_codes() -> None:
    torch.manual_seed(0)
    bottleneck = Ordered([Gaussian(4, 1) for _ in range(3)]).eval()
    z = torch.randn(2, 4, 5)
    assert bottleneck(z).codes is None
    assert torch.equal(bottleneck.prefix(z, 3), bottleneck(z).latents)
    assert not torch.equal(bottleneck.prefix(z, 1), bottleneck.prefix(z, 2))
    assert bottleneck(z).losses["kl"] > 0
    with pytest.raises(InputError, match="give it rounding"):
        bottleneck.encode(z)
    with pytest.raises(InputError, match="give it rounding"):
        bottleneck.decode(torch.zeros(1, 1, 1).long())
    with pytest.raises(InputError, match="blocks to be an integer from 1 to 3, got 4"):
        bottleneck.prefix(z, 4)


def test_a_prefix_of_codes_is_the_prefix_of_blocks() -> None:
    torch.manual_seed(0)
    bottleneck = Ordered([Gaussian(4, 2, Rounding()), FSQ(4, (5, 3)), LFQ(4, 4)]).eval()
    z = torch.randn(2, 4, 5)
    codes = bottleneck.encode(z)
    for blocks, codebooks in enumerate(bottleneck.prefixes, 1):
        torch.testing.assert_close(bottleneck.decode(codes[:, :codebooks]), bottleneck.prefix(z, blocks))


def test_invalid_blocks_raise() -> None:
    for blocks in ([], [FSQ(4, (5, 5)), FSQ(5, (5, 5))], [FSQ(4, (5, 5)), Gaussian(4, 2)], [torch.nn.Linear(4, 4)]):
        with pytest.raises(InputError):
            Ordered(blocks)  # type: ignore[arg-type]
