"""The wavelet autoencoder of WF-VAE (arXiv 2411.17459): convolutions, with a path of wavelets past each level.

                 ┌─ LLL ─ 2-D Haar ┬─ LL ─ 3-D Haar ────────────┐
    x ─ 3-D Haar ┤                 └─ 3 × 3 ─┐                  └─ 3 × 3 ─┐
                 └─ residual blocks ─ down ──┴─ residual blocks ─ down ───┴─ residual blocks ─ norm ─ 3 × 3 × 3 ─▶ z
                    (T/2, H/2, W/2)             (T/2, H/4, W/4)              (T/4, H/8, W/8)

The decoder is the mirror image: part of the channels of each level becomes wavelet coefficients, of which the next
finer level's lowest frequencies are the sum. Norms act on each position. Time is padded with its first element, so that
copies of the first frame in front of a video leave its latents as they are.

Differences from the published network: the decoder repeats frames to double their rate, which WF-VAE's "nearest"
does, where its "trilinear" looks one latent ahead; attention is an option, since it sees whole frames.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from narrows.codecs.base import Reach, State
from narrows.codecs.causal import CausalDecoder, CausalEncoder, Span
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.causal import TIME, Causal, CausalConv, CausalSequential, ChannelNorm, Past, Run, States
from narrows.codecs.layers.wavelets import haar, inverse_haar
from narrows.errors import InputError
from narrows.parts import part

STRIDE = (4, 8, 8)
PLANE, CUBE = (1, 3, 3), (3, 3, 3)  # kernels of 2-D and 3-D convolutions
BLOCK = 2  # positions to each side, in space, that a residual block sees
CUBE_BLOCK = 4  # times before that a residual block of 3-D convolutions sees


class Residual(Causal):
    """(B, C, T, H, W) to (B, out, T, H, W): x + two convolutions, each after a norm and SiLU."""

    def __init__(self, channels: int, out: int, kernel: tuple[int, ...] = CUBE) -> None:
        super().__init__()
        self.norm1, self.conv1 = ChannelNorm(channels), CausalConv(channels, out, kernel)
        self.norm2, self.conv2 = ChannelNorm(out), CausalConv(out, out, kernel)
        self.nin_shortcut = CausalConv(channels, out, (1, 1, 1)) if channels != out else nn.Identity()

    def start(self, batch: int) -> States:
        """No layer has run."""
        return States()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, States]:
        """The next times."""
        run = Run(state)
        h = run(self.conv1, nn.functional.silu(self.norm1(x)))
        h = run(self.conv2, nn.functional.silu(self.norm2(h)))
        return run(self.nin_shortcut, x) + h, run.state


class FrameAttention(nn.Module):
    """(B, C, T, H, W) to the same: x + attention of one head over the positions of each frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.q, self.k, self.v, self.proj_out = (CausalConv(channels, channels, (1, 1, 1)) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        vectors = (layer(h).movedim(1, -1).flatten(2, 3) for layer in (self.q, self.k, self.v))  # (B, T, H W, C)
        h = nn.functional.scaled_dot_product_attention(*vectors)
        out: Tensor = self.proj_out(h.unflatten(2, x.shape[3:]).movedim(-1, 1))
        return x + out


class Upsample(CausalConv):
    """Twice the height and width, then a convolution.

    Args:
        channels: C and C'.
        kernel: of the convolution; one that looks back also doubles the times, by repetition, and interpolates.
    """

    def __init__(self, channels: int, kernel: tuple[int, ...]) -> None:
        super().__init__(channels, channels, kernel)
        self.smooth = kernel[0] > 1

    def step(self, x: Tensor, state: State) -> tuple[Tensor, Past]:
        """The next times."""
        size, mode = x.shape[1:3], "bilinear" if self.smooth else "nearest"
        x = nn.functional.interpolate(x.flatten(1, 2), scale_factor=2.0, mode=mode).unflatten(1, size)
        return super().step(x.repeat_interleave(2, TIME) if self.smooth else x, state)


def down(channels: int, kernel: tuple[int, ...], stride: tuple[int, ...]) -> CausalConv:
    """A convolution with a stride, padded only at the right and the bottom."""
    return CausalConv(channels, channels, kernel, stride, margins=(0, 1))


@part("wavelet-encoder")
class WaveletEncoder(CausalEncoder):
    """Video (B, C, T, H, W) in [-1, 1], axes multiples of (4, 8, 8), to latents (B, dim, T/4, H/8, W/8).

    WF-VAE-S, M and L have widths 128, 160 and 192, 8 or 16 latent channels, and attention. The published encoder has
    2 dim output channels, for a mean and a log variance: see `from_published`.

    Args:
        dim: D of the latents.
        width: channels at half the size; twice and four times as many at the coarser levels.
        depth: residual blocks per level.
        flow: channels of the path of wavelets.
        attention: attention within each frame at the coarsest level; the reach in space is then unbounded.
        channels: C.
    """

    def __init__(
        self, dim: int = 16, width: int = 64, depth: int = 2, flow: int = 32, attention: bool = False, channels: int = 3
    ) -> None:
        super().__init__()
        _check(dim=dim, width=width, flow=flow, depth=depth, channels=channels)
        self.channels, self.dim, self.stride, self.depth, self.attention = channels, dim, STRIDE, depth, bool(attention)
        self.down1 = CausalSequential(
            CausalConv(8 * channels, width, PLANE),
            *(Residual(width, width, PLANE) for _ in range(depth)),
            down(width, PLANE, (1, 2, 2)),
        )
        self.down2 = CausalSequential(
            CausalConv(width + flow, 2 * width, PLANE),
            *(Residual(2 * width, 2 * width) for _ in range(depth)),
            down(2 * width, CUBE, (2, 2, 2)),
        )
        self.connect_l1 = CausalConv(4 * channels, flow, PLANE)
        self.connect_l2 = CausalConv(8 * channels, flow, PLANE)
        attend = [FrameAttention(4 * width)] if attention else []
        self.mid = CausalSequential(Residual(2 * width + flow, 4 * width), *attend, Residual(4 * width, 4 * width))
        self.norm_out = ChannelNorm(4 * width)
        self.conv_out = CausalConv(4 * width, dim, CUBE)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Latents before and after on which a latent depends, for each axis; no later frames."""
        time = Span(0, 0).grown(2 + 2 * CUBE_BLOCK, 0).finer(2).grown(1 + self.depth * CUBE_BLOCK, 0).finer(2)
        space = Span(0, 0).grown(1 + 2 * BLOCK).finer(2).grown(0, 1).grown(1 + self.depth * BLOCK)
        space = space.finer(2).grown(0, 1).grown(1 + self.depth * BLOCK).finer(2)
        side = None if self.attention else space.reach(STRIDE[1])
        return time.reach(STRIDE[0]), side, side

    def advance(self, x: Tensor, run: Run) -> Tensor:
        """The next frames."""
        first = haar(x, 3)
        second = haar(first[:, : self.channels], 2)
        third = haar(second[:, : self.channels], 3)
        h = run(self.down1, first)
        h = run(self.down2, torch.cat((h, run(self.connect_l1, second)), 1))
        h = run(self.mid, torch.cat((h, run(self.connect_l2, third)), 1))
        return run(self.conv_out, nn.functional.silu(self.norm_out(h)))


@part("wavelet-decoder")
class WaveletDecoder(CausalDecoder):
    """Latents (B, dim, t, h, w) to video (B, C, 4 t, 8 h, 8 w), roughly in [-1, 1].

    Args:
        dim, width, depth, flow, attention, channels: as of the encoder.
    """

    def __init__(
        self, dim: int = 16, width: int = 64, depth: int = 2, flow: int = 32, attention: bool = False, channels: int = 3
    ) -> None:
        super().__init__()
        _check(dim=dim, width=width, flow=flow, depth=depth, channels=channels)
        self.channels, self.dim, self.stride, self.depth, self.attention = channels, dim, STRIDE, depth, bool(attention)
        self.flow = flow
        wide = 4 * width
        self.conv_in = CausalConv(dim, wide, CUBE)
        attend = [FrameAttention(wide)] if attention else []
        self.mid = CausalSequential(Residual(wide, wide), *attend, Residual(wide, wide + flow))
        self.up2 = CausalSequential(
            *(Residual(wide, wide) for _ in range(depth)), Upsample(wide, CUBE), Residual(wide, wide + flow)
        )
        self.up1 = CausalSequential(
            *(Residual(2 * width if i else wide, 2 * width) for i in range(depth)),
            Upsample(2 * width, PLANE),
            Residual(2 * width, 2 * width),
        )
        self.layer = CausalSequential(Residual(2 * width, width), Residual(width, width))
        self.connect_l1 = CausalSequential(Residual(flow, flow), CausalConv(flow, 4 * channels, PLANE))
        self.connect_l2 = CausalSequential(Residual(flow, flow), CausalConv(flow, 8 * channels, PLANE))
        self.norm_out = ChannelNorm(width)
        self.conv_out = CausalConv(width, 8 * channels, PLANE)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Latents before and after on which a block of samples depends, for each axis; no later latents."""
        blocks = self.depth + 1
        time = Span(0, STRIDE[0] - 1).coarser(2).grown((3 + blocks) * CUBE_BLOCK + 2, 0).coarser(2)
        time = time.grown((self.depth + 2) * CUBE_BLOCK + 2, 0)
        space = Span(0, STRIDE[1] - 1).coarser(2).grown(1 + 3 * BLOCK + 1).coarser(2)
        space = space.grown(blocks * BLOCK + 1).grown(1).coarser(2)  # interpolation sees a neighbour
        space = space.grown((self.depth + 2) * BLOCK + 1)
        side = None if self.attention else space.reach()
        return time.reach(), side, side

    def advance(self, z: Tensor, run: Run, quality_index: Tensor | int | None) -> Tensor:
        """The next latents."""
        h, flow = self._split(run(self.mid, run(self.conv_in, z)))
        low = inverse_haar(run(self.connect_l2, flow), 3)
        h, flow = self._split(run(self.up2, h))
        low = inverse_haar(self._with_low(run(self.connect_l1, flow), low), 2)
        h = run(self.layer, run(self.up1, h))
        out = run(self.conv_out, nn.functional.silu(self.norm_out(h)))
        return inverse_haar(self._with_low(out, low), 3)

    def _split(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return h[:, : -self.flow], h[:, -self.flow :]

    def _with_low(self, coefficients: Tensor, low: Tensor) -> Tensor:
        """Coefficients whose lowest frequencies have `low` added."""
        return torch.cat((coefficients[:, : self.channels] + low, coefficients[:, self.channels :]), 1)


def from_published(network: WaveletEncoder | WaveletDecoder, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of WF-VAE's encoder or decoder under the names of this network, for its `load_state_dict`.

    Names there may have "conv" or "norm" before the last part, where a layer wraps another; 2-D kernels have one axis
    less. Of the last layer of the encoder, the channels of the log variance are left out: latents are the means. The
    weights must be of a network with layer norms, and with attention where this one has it.

    Args:
        network: of the same sizes.
        weights: the tensors of `encoder.` or `decoder.` without this prefix.

    Raises:
        InputError: for weights that are missing, left over or of other shapes.
    """
    found, used = {}, set()
    for name, own in network.state_dict().items():
        place, _, last = name.rpartition(".")
        candidates = [f"{place}{wrapped}.{last}" for wrapped in ("", ".conv", ".norm", ".conv.conv")]
        published = next((candidate for candidate in candidates if candidate in weights), None)
        if published is None:
            raise InputError(f"expected weights of a WF-VAE with {candidates[1]!r} or alike, got none")
        value = weights[published]
        value = value.unsqueeze(2) if value.ndim == 4 and own.ndim == 5 else value
        value = value[: len(own)] if place == "conv_out" and len(value) == 2 * len(own) else value
        if value.shape != own.shape:
            raise InputError(f"expected {published!r} of shape {tuple(own.shape)}, got {tuple(value.shape)}")
        found[name] = value
        used.add(published)
    if left := [name for name in weights if name not in used and "wavelet_transform" not in name]:
        raise InputError(f"expected no other weights, got {left[0]!r}; choose the options of the published network")
    return found


def _check(depth: int, **sizes: int) -> None:
    check_integers(1, MAX_SIZE, **sizes)
    check_integers(1, 64, depth=depth)
