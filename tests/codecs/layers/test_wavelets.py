import itertools

import pytest
import torch
from torch import Tensor

from narrows.codecs.layers.wavelets import haar, inverse_haar


def plain_haar(x: Tensor, axes: int) -> Tensor:
    """The coefficients one at a time: sums over cells of samples times signs, divided by the root of their number."""
    cells, coefficients = list(itertools.product((0, 1), repeat=axes)), []
    for frequency in cells:
        total = torch.zeros(())
        for cell in cells:
            sign = (-1) ** sum(f * place for f, place in zip(frequency, cell, strict=True))
            index = (..., *(slice(place, None, 2) for place in cell))
            total = total + sign * x[index]
        coefficients.append(total / 2 ** (axes / 2))
    return torch.cat(coefficients, 1)


@pytest.mark.parametrize(
    ("axes", "shape"), [(1, (2, 1, 12)), (2, (2, 3, 5, 6, 8)), (3, (2, 3, 4, 6, 8)), (3, (1, 5, 2, 2, 2))]
)
def test_coefficients_are_those_of_a_plain_loop(axes: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    found = haar(x, axes)
    torch.testing.assert_close(found, plain_haar(x, axes), atol=1e-6, rtol=0)
    torch.testing.assert_close(inverse_haar(found, axes), x, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.norm(), x.norm())  # orthonormal


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_several_levels_invert(levels: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 16, 24, 32)
    h = x
    for _ in range(levels):
        h = haar(h, 3)
    assert h.shape == (1, 3 * 8**levels, 16 >> levels, 24 >> levels, 32 >> levels)
    for _ in range(levels):
        h = inverse_haar(h, 3)
    assert (h - x).abs().max() <= 1e-6


def test_low_frequencies_of_all_channels_come_first() -> None:
    x = torch.tensor([3.0, -5.0]).view(1, 2, 1, 1, 1).expand(1, 2, 2, 4, 4)
    found = haar(x, 3)
    assert found[:, :2].unique().tolist() == pytest.approx([-5 * 8**0.5, 3 * 8**0.5])
    assert not found[:, 2:].any()


def test_pieces_in_time_are_transformed_alike() -> None:
    x = torch.randn(1, 3, 8, 4, 4)
    assert torch.equal(torch.cat([haar(piece, 3) for piece in x.split(2, 2)], 2), haar(x, 3))
