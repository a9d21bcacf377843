import pytest
import torch

from narrows.codecs import (
    FSQ,
    VQ,
    EMACodebook,
    MultiRateVQ,
    Ordered,
    Strided,
)
from narrows.errors import InputError


def test_strided_quantizes_averages_of_steps() -> None:
    torch.manual_seed(0)
    inner = VQ(3, EMACodebook(3, 64))
    bottleneck = Strided(inner, steps=4, stride=2).eval()
    z = torch.randn(2, 12, 5)
    means = z.view(2, 3, 2, 2, 5).mean(3)  # (B, d, means, F)
    codes = bottleneck.encode(z)
    for k in range(2):
        assert torch.equal(codes[:, k : k + 1], inner.encode(means[:, :, k]))
        wanted = inner.decode(codes[:, k : k + 1])
        for step in (2 * k, 2 * k + 1):
            assert torch.equal(bottleneck.decode(codes)[:, step::4], wanted)


def test_a_stage_at_twice_the_rate_has_twice_the_codebooks() -> None:
    bottleneck = MultiRateVQ(16, (4, 2, 1), entries=16, code_dim=2)
    assert bottleneck.prefixes == (1, 3, 7)
    assert bottleneck.codebook_sizes == (16,) * 7


def test_a_part_of_the_codebooks_of_a_step_raises() -> None:
    bottleneck = Strided(FSQ(4, (3, 3), groups=2), steps=2, stride=1).eval()
    codes = bottleneck.encode(torch.randn(1, 8, 3))
    assert codes.shape == (1, 4, 3)
    assert bottleneck.decode(codes[:, :2]).shape == (1, 8, 3)
    with pytest.raises(InputError, match="a multiple of 2 codebooks"):
        bottleneck.decode(codes[:, :3])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Strided(VQ(2), steps=4, stride=3),
        lambda: Strided(VQ(2), steps=0, stride=1),
        lambda: MultiRateVQ(8, ()),
        lambda: MultiRateVQ(8, (4, 3)),
        lambda: Strided(Strided(FSQ(1), steps=1 << 16, stride=1), steps=1 << 16, stride=1),  # 2^32 codebooks
        lambda: Strided(Strided(FSQ(1), steps=1 << 9, stride=1), steps=1 << 9, stride=1),
        lambda: Ordered([FSQ(1, groups=1 << 15), FSQ(1, groups=1 << 15), FSQ(1)]),
    ],
)
def test_invalid_arguments_raise(make: object) -> None:
    with pytest.raises(InputError, match="expected"):
        make()  # type: ignore[operator]
