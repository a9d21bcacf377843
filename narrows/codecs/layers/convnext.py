"""ConvNeXt block for sequences (Liu et al., arXiv 2201.03545; one-dimensional as in Vocos, arXiv 2306.00814)."""

from torch import Tensor, nn


class ConvNeXt(nn.Module):
    """(B, F, D) to (B, F, D): depthwise convolution over positions, then a two-layer network at each position.

    The norm acts on each position separately, so an output depends on `reach` positions to each side only.

    Args:
        dim: D.
        expansion: hidden channels of the two-layer network, in units of D.
        scale: factor on the initial weights of its second layer.
    """

    reach = 3

    def __init__(self, dim: int, expansion: int = 3, scale: float = 0.1) -> None:
        super().__init__()
        self.mix = nn.Conv1d(dim, dim, 2 * self.reach + 1, padding=self.reach, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, expansion * dim)
        self.narrow = nn.Linear(expansion * dim, dim)
        nn.init.trunc_normal_(self.widen.weight, std=dim**-0.5)
        nn.init.trunc_normal_(self.narrow.weight, std=scale * (expansion * dim) ** -0.5)
        nn.init.zeros_(self.widen.bias)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, D) to (B, F, D)."""
        mixed = self.mix(x.transpose(1, 2)).transpose(1, 2)
        return x + self.narrow(nn.functional.gelu(self.widen(self.norm(mixed))))
