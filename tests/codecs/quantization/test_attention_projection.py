import pytest
import torch

from narrows.codecs import (
    AttentionProjection,
)
from narrows.errors import InputError


def test_attention_projection_depends_on_all_positions_of_its_item_only() -> None:
    torch.manual_seed(0)
    projection = AttentionProjection(8, 12, heads=4).eval()
    z = torch.randn(2, 8, 3, 5)
    changed = z.clone()
    changed[1, 0, 2, 4] += 3
    moved = (projection.down(z) != projection.down(changed)).flatten(1, 2).any(-1)
    assert not moved[0].any()
    assert moved[1].all()
    assert projection.up(projection.down(z)).shape == z.shape


def test_invalid_arguments_raise() -> None:
    with pytest.raises(InputError, match="expected"):
        AttentionProjection(8, 12, heads=5)
