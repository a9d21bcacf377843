"""The ConvNeXt block of Vocos (Siuzdak, arXiv 2306.00814, section 3.2), and norms that depend on a quality."""

from torch import Tensor, nn

EPSILON = 1e-6  # of all norms


class AdaptiveNorm(nn.Module):
    """LayerNorm (B, F, width) with a scale and a shift for each quality, as of adaptive layer norm.

    Args:
        width: length of the vectors.
        qualities: number of qualities.
    """

    def __init__(self, width: int, qualities: int) -> None:
        super().__init__()
        self.scale = nn.Embedding(qualities, width)
        self.shift = nn.Embedding(qualities, width)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, quality_index: Tensor) -> Tensor:
        """(B, F, width) and the quality, (1,) or (B,), to the same shape."""
        normed = nn.functional.layer_norm(x, x.shape[-1:], eps=EPSILON)
        return normed * self.scale(quality_index)[:, None] + self.shift(quality_index)[:, None]


def make_norm(width: int, qualities: int) -> nn.Module:
    """An AdaptiveNorm for several qualities; for 0, a LayerNorm."""
    return AdaptiveNorm(width, qualities) if qualities else nn.LayerNorm(width, EPSILON)


def normed(norm: nn.Module, x: Tensor, quality_index: Tensor | None) -> Tensor:
    """Apply a norm of `make_norm`."""
    out: Tensor = norm(x) if quality_index is None else norm(x, quality_index)
    return out


class VocosBlock(nn.Module):
    """(B, width, F) to the same: depthwise convolution over frames, then a two-layer network at each frame.

    Args:
        width: channels.
        hidden: hidden channels of the two-layer network.
        scale: initial factor of what the block adds to its input, learned for each channel.
        qualities: of the norm; see `make_norm`.
    """

    reach = 3  # frames to each side

    def __init__(self, width: int, hidden: int, scale: float, qualities: int = 0) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, 2 * self.reach + 1, padding=self.reach, groups=width)
        self.norm = make_norm(width, qualities)
        self.pwconv1 = nn.Linear(width, hidden)
        self.pwconv2 = nn.Linear(hidden, width)
        self.gamma = nn.Parameter(self.pwconv1.weight.new_full((width,), scale))

    def forward(self, x: Tensor, quality_index: Tensor | None = None) -> Tensor:
        """(B, width, F) to the same shape; a quality, (1,) or (B,), if there are several."""
        h = normed(self.norm, self.dwconv(x).transpose(1, 2), quality_index)
        return x + (self.gamma * self.pwconv2(nn.functional.gelu(self.pwconv1(h)))).transpose(1, 2)
