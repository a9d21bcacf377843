"""The convolutional autoencoder of VQGAN and latent diffusion (arXiv 2012.09841, table 7; arXiv 2112.10752).

(B, 3, H, W) ─ 3 × 3 ─ level ─ half ─ ... ─ half ─ level ─ residual, attention, residual ─ 3 × 3 ─▶ (B, D, h, w)
(B, D, h, w) ─ 3 × 3 ─ residual, attention, residual ─ level ─ double ─ ... ─ double ─ level ─ 3 × 3 ─▶ (B, 3, H, W)

A level is some residual blocks, each followed by attention in the deepest levels. Norms take their mean over all of the
picture, and attention sees all of it: there is no reach.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from narrows.codecs.checks import MOST, check_images, check_several, check_whole
from narrows.errors import InputError
from narrows.parts import part

EPSILON = 1e-6


class Residual(nn.Module):
    """(B, C, h, w) to (B, out, h, w): x + two 3 × 3 convolutions, each after a norm and SiLU."""

    def __init__(self, channels: int, out: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels, EPSILON)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, out, EPSILON)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(nn.functional.silu(self.norm1(x)))
        h = self.conv2(nn.functional.silu(self.norm2(h)))
        return self.shortcut(x) + h


class Attention(nn.Module):
    """(B, C, h, w) to the same: x + attention of one head over all positions."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, EPSILON)
        self.query, self.key, self.value = (nn.Linear(channels, channels) for _ in range(3))
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x).flatten(2).transpose(1, 2)  # (B, h w, C)
        h = nn.functional.scaled_dot_product_attention(self.query(h), self.key(h), self.value(h))
        return x + self.out(h).transpose(1, 2).unflatten(2, x.shape[2:])


class Half(nn.Module):
    """(B, C, h, w) to (B, C, h/2, w/2): 3 × 3 with stride 2, padded at the right and at the bottom alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(nn.functional.pad(x, (0, 1, 0, 1)))
        return out


class Double(nn.Module):
    """(B, C, h, w) to (B, C, 2 h, 2 w): pixels repeated, then 3 × 3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


@part("ldm-encoder")
class LDMEncoder(nn.Module):
    """Images (B, 3, H, W) in [-1, 1], sides multiples of 2^(levels - 1), to latents (B, dim, h, w).

    width: channels at full size; multipliers: of the width, one a level. depth: residual blocks of a level.
    attention: how many of the deepest levels have it. groups: of the norms, a divisor of the width.
    The defaults are VQGAN's for pictures of 256 × 256; latent diffusion has (1, 2, 4, 4) and no attention in levels.
    """

    reach = None

    def __init__(
        self,
        dim: int = 256,
        width: int = 128,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4),
        depth: int = 2,
        attention: int = 1,
        groups: int = 32,
    ) -> None:
        super().__init__()
        widths = _widths(dim, width, multipliers, depth, attention, groups)
        self.axes, self.dim, self.stride = 2, dim, 2 ** (len(widths) - 1)
        self.start = nn.Conv2d(3, width, 3, padding=1)
        steps: list[nn.Module] = [Half(channels) for channels in widths[:-1]]
        seen = [False] * (len(widths) - attention) + [True] * attention
        self.levels = _levels([width, *widths], seen, steps, depth, groups)
        self.middle = _middle(widths[-1], groups)
        self.norm = nn.GroupNorm(groups, widths[-1], EPSILON)
        self.out = nn.Conv2d(widths[-1], dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, dim, H / stride, W / stride)."""
        check_images(x, self.stride)
        h = self.middle(self.levels(self.start(x)))
        out: Tensor = self.out(nn.functional.silu(self.norm(h)))
        return out


@part("ldm-decoder")
class LDMDecoder(nn.Module):
    """Latents (B, dim, h, w) to images (B, 3, H, W), about [-1, 1].

    Arguments: as of the encoder; a level has one residual block more than there.
    """

    reach = None

    def __init__(
        self,
        dim: int = 256,
        width: int = 128,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4),
        depth: int = 2,
        attention: int = 1,
        groups: int = 32,
    ) -> None:
        super().__init__()
        widths = _widths(dim, width, multipliers, depth, attention, groups)[::-1]
        self.axes, self.dim, self.stride = 2, dim, 2 ** (len(widths) - 1)
        self.start = nn.Conv2d(dim, widths[0], 3, padding=1)
        self.middle = _middle(widths[0], groups)
        steps: list[nn.Module] = [Double(channels) for channels in widths[:-1]]
        seen = [True] * attention + [False] * (len(widths) - attention)
        self.levels = _levels([widths[0], *widths], seen, steps, depth + 1, groups)
        self.norm = nn.GroupNorm(groups, widths[-1], EPSILON)
        self.out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """(B, dim, h, w) to (B, 3, stride h, stride w)."""
        h = self.levels(self.middle(self.start(z)))
        out: Tensor = self.out(nn.functional.silu(self.norm(h)))
        return out


def _widths(dim: int, width: int, multipliers: Sequence[int], depth: int, attention: int, groups: int) -> list[int]:
    """Channels of each level. Raises InputError for what makes no network."""
    check_whole(1, MOST, dim=dim, width=width, groups=groups)
    check_whole(1, 64, depth=depth)
    check_several(1, 64, multipliers=multipliers)
    check_whole(1, 8, levels=len(multipliers))
    check_whole(0, len(multipliers), attention=attention)
    if width % groups:
        raise InputError(f"expected groups to divide width={width}, got {groups}")
    return [width * factor for factor in multipliers]


def _levels(
    widths: Sequence[int], seen: Sequence[bool], steps: Sequence[nn.Module], depth: int, groups: int
) -> nn.Sequential:
    """Levels in the order of the signal; all but the last end with a step to another size."""
    levels = []
    for index, out in enumerate(widths[1:]):
        layers: list[nn.Module] = []
        for number in range(depth):
            layers.append(Residual(out if number else widths[index], out, groups))
            layers += [Attention(out, groups)] if seen[index] else []
        levels.append(nn.Sequential(*layers, *steps[index : index + 1]))
    return nn.Sequential(*levels)


def _middle(channels: int, groups: int) -> nn.Sequential:
    return nn.Sequential(
        Residual(channels, channels, groups), Attention(channels, groups), Residual(channels, channels, groups)
    )
