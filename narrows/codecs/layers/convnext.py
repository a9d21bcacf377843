"""ConvNeXt block (Liu et al., arXiv 2201.03545), on one axis of positions as in Vocos (arXiv 2306.00814), or on two."""

from torch import Tensor, nn


class ConvNeXt(nn.Module):
    """(B, *positions, D) to the same: depthwise convolution over positions, then a two-layer network at each position.

    The norm acts on each position separately, so an output depends on `reach` positions to each side only.

    Args:
        dim: D.
        expansion: hidden channels of the two-layer network, in units of D.
        scale: factor on the initial weights of its second layer.
        axes: of the positions, 1 or 2.
    """

    reach = 3

    def __init__(self, dim: int, expansion: int = 3, scale: float = 0.1, axes: int = 1) -> None:
        super().__init__()
        convolution = {1: nn.Conv1d, 2: nn.Conv2d}[axes]
        self.mix = convolution(dim, dim, 2 * self.reach + 1, padding=self.reach, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, expansion * dim)
        self.narrow = nn.Linear(expansion * dim, dim)
        nn.init.trunc_normal_(self.widen.weight, std=dim**-0.5)
        nn.init.trunc_normal_(self.narrow.weight, std=scale * (expansion * dim) ** -0.5)
        nn.init.zeros_(self.widen.bias)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *positions, D) to the same shape."""
        mixed = self.mix(x.movedim(-1, 1)).movedim(1, -1)
        return x + self.narrow(nn.functional.gelu(self.widen(self.norm(mixed))))
