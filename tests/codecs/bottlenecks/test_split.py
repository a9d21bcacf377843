import pytest
import torch

from narrows.codecs import (
    VQ,
    EMACodebook,
    ResidualVQ,
    SplitResidualVQ,
)
from narrows.errors import InputError


def test_both_branches_quantize_the_same_latents() -> None:
    torch.manual_seed(0)
    semantic, acoustic = VQ(6, EMACodebook(4, 16)), ResidualVQ(6, 2, 16, 4)
    bottleneck = SplitResidualVQ(semantic, acoustic).eval()
    z = torch.randn(2, 6, 10)
    codes = bottleneck.encode(z)
    assert torch.equal(codes, torch.cat([semantic.encode(z), acoustic.encode(z)], 1))
    assert torch.equal(bottleneck.decode(codes[:, :1]), semantic.decode(codes[:, :1]))
    assert torch.equal(bottleneck.decode(codes), semantic.decode(codes[:, :1]) + acoustic.decode(codes[:, 1:]))
    assert bottleneck.prefixes == (2, 3)
    assert set(bottleneck(z).losses) == {"semantic/commitment", "acoustic/commitment"}


def test_invalid_arguments_raise() -> None:
    with pytest.raises(InputError, match="expected"):
        SplitResidualVQ(VQ(4), VQ(5))
