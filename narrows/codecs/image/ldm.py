"""The convolutional autoencoder of VQGAN and latent diffusion (arXiv 2012.09841, table 7; arXiv 2112.10752).

(B, C, H, W) ─ 3 × 3 ─ level ─ down ─ ... ─ down ─ level ─ residual, attention, residual ─ 3 × 3 ─▶ (B, D, h, w)
(B, D, h, w) ─ 3 × 3 ─ residual, attention, residual ─ level ─ up ─ ... ─ up ─ level ─ 3 × 3 ─▶ (B, C, H, W)

A level is a number of residual blocks, each followed by attention in the deepest levels. GroupNorm and attention depend
on the whole image: the reach is unbounded.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from narrows.codecs.base import Decoder, Encoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integer_lists, check_integers
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


class Downsample(nn.Module):
    """(B, C, h, w) to (B, C, h/2, w/2): 3 × 3 with stride 2, padded only at the right and the bottom."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(nn.functional.pad(x, (0, 1, 0, 1)))
        return out


class Upsample(nn.Module):
    """(B, C, h, w) to (B, C, 2 h, 2 w): nearest-neighbour upsampling, then 3 × 3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


@part("ldm-encoder")
class LDMEncoder(Encoder):
    """Images (B, C, H, W) in [-1, 1], sides multiples of 2^(levels - 1), to latents (B, dim, h, w).

    The defaults are VQGAN's for images of 256 × 256; latent diffusion has (1, 2, 4, 4) and no attention in levels.

    Args:
        dim: D of the latents.
        width: channels at full size.
        multipliers: of the width, one per level.
        depth: residual blocks per level.
        attention: number of the deepest levels that have attention.
        groups: of the norms, a divisor of the width.
        channels: C.
    """

    reach: tuple[Reach, ...] = (None, None)

    def __init__(
        self,
        dim: int = 256,
        width: int = 128,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4),
        depth: int = 2,
        attention: int = 1,
        groups: int = 32,
        channels: int = 3,
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, channels=channels)
        widths = _widths(dim, width, multipliers, depth, attention, groups)
        self.channels, self.dim, self.stride = channels, dim, (2 ** (len(widths) - 1),) * 2
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        resampling: list[nn.Module] = [Downsample(channels) for channels in widths[:-1]]
        attends = [False] * (len(widths) - attention) + [True] * attention
        self.levels = _levels([width, *widths], attends, resampling, depth, groups)
        self.middle = _middle(widths[-1], groups)
        self.norm = nn.GroupNorm(groups, widths[-1], EPSILON)
        self.out = nn.Conv2d(widths[-1], dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, dim, H / stride, W / stride)."""
        self.check_signal(x)
        h = self.middle(self.levels(self.first(x)))
        out: Tensor = self.out(nn.functional.silu(self.norm(h)))
        return out


@part("ldm-decoder")
class LDMDecoder(Decoder):
    """Latents (B, dim, h, w) to images (B, C, H, W), about [-1, 1].

    Args:
        dim, width, multipliers, depth, attention, groups, channels: as of the encoder; a level has one residual block
            more than there.
    """

    reach: tuple[Reach, ...] = (None, None)

    def __init__(
        self,
        dim: int = 256,
        width: int = 128,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4),
        depth: int = 2,
        attention: int = 1,
        groups: int = 32,
        channels: int = 3,
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, channels=channels)
        widths = _widths(dim, width, multipliers, depth, attention, groups)[::-1]
        self.channels, self.dim, self.stride = channels, dim, (2 ** (len(widths) - 1),) * 2
        self.first = nn.Conv2d(dim, widths[0], 3, padding=1)
        self.middle = _middle(widths[0], groups)
        resampling: list[nn.Module] = [Upsample(channels) for channels in widths[:-1]]
        attends = [True] * attention + [False] * (len(widths) - attention)
        self.levels = _levels([widths[0], *widths], attends, resampling, depth + 1, groups)
        self.norm = nn.GroupNorm(groups, widths[-1], EPSILON)
        self.out = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """(B, dim, h, w) to (B, C, stride h, stride w)."""
        h = self.levels(self.middle(self.first(z)))
        out: Tensor = self.out(nn.functional.silu(self.norm(h)))
        return out


def _widths(dim: int, width: int, multipliers: Sequence[int], depth: int, attention: int, groups: int) -> list[int]:
    """Channels of each level. Raises InputError for arguments out of range."""
    check_integers(1, MAX_SIZE, dim=dim, width=width, groups=groups)
    check_integers(1, 64, depth=depth)
    check_integer_lists(1, 64, multipliers=multipliers)
    check_integers(1, 8, levels=len(multipliers))
    check_integers(0, len(multipliers), attention=attention)
    if width % groups:
        raise InputError(f"expected groups that divide the width, got groups={groups} and width={width}")
    return [width * factor for factor in multipliers]


def _levels(
    widths: Sequence[int], attends: Sequence[bool], resampling: Sequence[nn.Module], depth: int, groups: int
) -> nn.Sequential:
    """Levels in the order of the signal; all but the last end with down- or upsampling."""
    levels = []
    for index, out in enumerate(widths[1:]):
        layers: list[nn.Module] = []
        for number in range(depth):
            layers.append(Residual(out if number else widths[index], out, groups))
            layers += [Attention(out, groups)] if attends[index] else []
        levels.append(nn.Sequential(*layers, *resampling[index : index + 1]))
    return nn.Sequential(*levels)


def _middle(channels: int, groups: int) -> nn.Sequential:
    return nn.Sequential(
        Residual(channels, channels, groups), Attention(channels, groups), Residual(channels, channels, groups)
    )
