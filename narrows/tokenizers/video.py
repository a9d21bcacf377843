"""The video tokenizer: a causal video codec with exact frame counts and sizes, any length in bounded memory.

frames (C, H, W) one after another ─ blocks ─ tiles ─ encoder ─ bottleneck ─▶ Tokens ─▶ the same steps in reverse
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.codecs.codec import Codec
from narrows.errors import InputError, shortened
from narrows.media import video as media
from narrows.media.extents import Extent, VideoExtent
from narrows.media.image.resize import Resize
from narrows.media.medium import Medium, Reader, Signal
from narrows.parts import part
from narrows.tokenizers.channels import as_array
from narrows.tokenizers.image_tiles import FULL_SCALE
from narrows.tokenizers.settings import DecodeOptions, Output, check_numbers
from narrows.tokenizers.tokenizer import Item, Tokenizer
from narrows.tokenizers.tokens import Latents, Tokens
from narrows.tokenizers.video_tiles import Frame, VideoTiles, latent_frames

Array = Tensor | NDArray[np.floating] | NDArray[np.uint8]
FrameRate = int | float | Fraction
MAX_RATE_BASE = 1001  # of a frame rate that is given as a float, such as 29.97


@part("video-tokenizer")
class VideoTokenizer(Tokenizer):
    """Tokenizes video of any length and size, grey or RGB, with a causal video codec.

    Frames go through the codec in blocks, each of which continues the state of the one before, and large frames in
    overlapping tiles, so that memory grows neither with the length nor, in the networks, with the size. The result is
    the same as for the whole clip at once.

    Of n frames and a codec with stride s in time, the latent grid has 1 + ceil((n - 1) / s) frames: the first one
    stands for the first frame alone, so an image is a clip of one frame. Sides are padded to whole blocks by repeating
    the last row and column.

    Args:
        codec: the codec, with three signal axes, whose encoder and decoder have `start` and `step`.

    Attributes:
        tile: largest side of a tile, in pixels.
        block: latent frames that go through the networks together.

    Raises:
        InputError: for a codec with another number of axes, or one that is not causal.
    """

    medium: ClassVar[Medium] = media.MEDIUM
    decode_options: ClassVar[tuple[str, ...]] = ("start", "stop")
    tile: int = 512
    block: int = 4

    def __init__(self, codec: Codec) -> None:
        super().__init__(codec)
        for name, network in (("encoder", codec.encoder), ("decoder", codec.decoder)):
            if (reach := network.reach[0]) is None or reach[1]:
                raise InputError(f"expected a causal {name}, got {type(network).__name__} with a reach in time of {reach}")
            network.start(1)

    @property
    def tiles(self) -> VideoTiles:
        """The networks of the codec, run on blocks and tiles."""
        return VideoTiles(self.codec, self.tile // max(self.codec.stride[1:]), self.block)

    @property
    def settings(self) -> tuple[str, ...]:
        """`codebooks` if the codec has codebooks, otherwise empty."""
        return ("codebooks",) if self.codebooks else ()

    def grid(self, extent: VideoExtent) -> tuple[int, int, int]:
        """Size of the latent grid of a clip."""
        stride = self.codec.stride
        return latent_frames(extent.frames, stride[0]), -(-extent.height // stride[1]), -(-extent.width // stride[2])

    def encode(self, x: Array, frame_rate: FrameRate, *, codebooks: float | None = None) -> Tokens:
        """Encode a clip to Tokens.

        Args:
            x: (C, T, H, W), C 1 or 3, floats in [-1, 1] or uint8.
            frame_rate: frames per second; a float such as 29.97 stands for the nearest fraction.
            codebooks: number of codebooks to keep; None for all K.

        Raises:
            InputError: for another shape or type, values that are not finite, and settings out of range.
        """
        clip = as_clip(x)
        return self.encode_frames(clip.swapaxes(0, 1), frame_rate, codebooks=codebooks)

    def encode_frames(
        self, frames: Iterable[Frame], frame_rate: FrameRate, *, codebooks: float | None = None
    ) -> Tokens:
        """Encode consecutive frames (C, H, W) to Tokens, in memory that does not grow with their number but for codes.

        Raises InputError as `encode`, for no frames, and for frames of different sizes.
        """
        keep, bottleneck = self.check_codebooks(codebooks), self.codec.bottleneck
        rate, checked = as_rate(frame_rate), CheckedFrames(frames)

        def coded(z: Tensor) -> Tensor:
            return narrow(bottleneck.encode(z.to(self.device))[:, :keep].cpu(), bottleneck.codebook_sizes)

        codes, extent = self._encoded(checked, rate, coded)
        return Tokens(codes, bottleneck.radices[:keep], extent, self.name, self.fingerprint)

    def encode_batch(
        self, clips: Sequence[Array], frame_rate: FrameRate, *, codebooks: float | None = None
    ) -> list[Tokens]:
        """Encode clips, one after another; returns the Tokens of each."""
        return [self.encode(x, frame_rate, codebooks=codebooks) for x in clips]

    def encode_latents(self, x: Array, frame_rate: FrameRate) -> Latents:
        """Encode a clip to the Latents of a continuous bottleneck, without quantization. `x` as for `encode`.

        Raises InputError for a model with another bottleneck, and as `encode` does.
        """
        return self.encode_frames_to_latents(as_clip(x).swapaxes(0, 1), frame_rate)

    def encode_frames_to_latents(self, frames: Iterable[Frame], frame_rate: FrameRate) -> Latents:
        """Encode consecutive frames (C, H, W) to Latents; see `encode_frames`."""
        continuous = self.continuous

        def coded(z: Tensor) -> Tensor:
            return continuous.encode_latents(z.to(self.device)).float().cpu()

        values, extent = self._encoded(CheckedFrames(frames), as_rate(frame_rate), coded)
        return Latents(values, extent, self.name, self.fingerprint)

    @torch.inference_mode()
    def _encoded(
        self, frames: "CheckedFrames", rate: Fraction, coded: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, VideoExtent]:
        """The values (S, k, T, H, W) that `coded` returns for the latents of frames, and the extent of the frames."""
        source = iter(frames)
        first = next(source, None)
        if first is None:
            raise InputError("expected a clip of at least 1 frame, got 0")
        height, width = first.shape[1:]
        grid = self.grid(VideoExtent(1, height, width, len(first), rate.numerator, rate.denominator))
        pieces = list[Tensor]()
        for z in self.tiles.encode(chain([first], source), grid[1:]):
            with torch.autocast(self.device.type, enabled=False):
                pieces.append(coded(z))
        extent = VideoExtent(frames.count, height, width, len(first), rate.numerator, rate.denominator)
        return torch.cat(pieces, 2), extent

    def decode(self, tokens: Tokens, start: float = 0.0, stop: float | None = None) -> Tensor:
        """Decode Tokens to a clip (C, T, H, W) float32 in [-1, 1], of the size and channels of the encoded clip.

        Args:
            tokens: the Tokens.
            start, stop: decode this part only, in seconds; None for the end. The work is that for the part. The result
                equals the frames from round(start · rate) to round(stop · rate) of the whole, up to rounding errors.

        Raises:
            WrongModel: for tokens of another model.
            InputError: for codes that do not match their extent, and for a part outside of the clip.
        """
        return torch.from_numpy(np.concatenate(list(self.decode_blocks(tokens, start, stop)), 1))

    def decode_latents(self, latents: Latents, start: float = 0.0, stop: float | None = None) -> Tensor:
        """Decode Latents to a clip (C, T, H, W) float32 in [-1, 1]; see `decode`."""
        return torch.from_numpy(np.concatenate(list(self.decode_blocks(latents, start, stop)), 1))

    def decode_blocks(
        self, item: Tokens | Latents, start: float = 0.0, stop: float | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Decode Tokens or Latents to consecutive blocks (C, t, H, W), in bounded memory; arguments as of `decode`."""
        extent = self._check_item_and_grid(item)
        first, last = part_of_clip(extent, start, stop)
        reach, stride = self.codec.decoder.reach[0], self.codec.stride[0]
        assert reach is not None
        begin = max(0, (first + stride - 1) // stride - reach[0])  # of the latent frames that the part depends on
        values = item.codes if isinstance(item, Tokens) else item.values
        values = values[:, :, begin : latent_frames(last, stride)]
        skip = first + stride - 1 - begin * stride
        latents = (self._latents(piece, item) for piece in values.split(self.block, 2))
        return self.tiles.decode(latents, replace(extent, frames=last - first), skip)

    @torch.inference_mode()
    def _latents(self, values: Tensor, item: Tokens | Latents) -> Tensor:
        """Latents (S, D, t, h, w) of codes or values (S, k, t, h, w)."""
        values = values.to(self.device)
        with torch.autocast(self.device.type, enabled=False):
            if isinstance(item, Tokens):
                return self.codec.bottleneck.decode(values.long())
            return self.continuous.decode_latents(values)

    def _check_item_and_grid(self, item: Tokens | Latents) -> VideoExtent:
        """Run `check_item`, and check that the grid matches the size of the clip."""
        extent = cast(VideoExtent, self.check_item(item))
        if extent.channels not in (1, 3):
            raise InputError(f"expected a clip of 1 or 3 channels, got {extent.channels}")
        grid = tuple((item.codes if isinstance(item, Tokens) else item.values).shape[2:])
        if grid != self.grid(extent):
            size = f"{extent.frames} frames of {extent.height} × {extent.width} pixels"
            raise InputError(f"expected a grid {self.grid(extent)} for {size}, got {grid}")
        return extent


class CheckedFrames:
    """Iterates over frames once: checks them and counts them.

    Attributes:
        count: frames so far.
    """

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames, self.count = frames, 0

    def __iter__(self) -> Iterator[Frame]:
        shape: tuple[int, ...] | None = None
        for frame in self._frames:
            if not isinstance(frame, np.ndarray) or frame.ndim != 3 or len(frame) not in (1, 3) or 0 in frame.shape:
                raise InputError(f"expected frames (1 or 3, H, W), got {described(frame)}")
            if shape not in (None, frame.shape):
                raise InputError(f"expected frames of one shape {shape}, got {frame.shape} at frame {self.count}")
            if frame.dtype != np.uint8:
                if frame.dtype.kind != "f":
                    raise InputError(f"expected frames of floats in [-1, 1] or uint8, got {frame.dtype}")
                check_range(float(frame.min()), float(frame.max()))
            shape, self.count = frame.shape, self.count + 1
            yield frame


def as_clip(x: Array) -> NDArray[np.generic]:
    """A clip as an array (C, T, H, W). Raises InputError for another shape."""
    clip = as_array(x)
    if clip.ndim != 4 or clip.shape[0] not in (1, 3) or 0 in clip.shape:
        given = f"shape {clip.shape}" if clip.ndim else type(x).__name__
        raise InputError(f"expected a clip (1 or 3, T, H, W), got {given}")
    return clip


def as_rate(frame_rate: FrameRate) -> Fraction:
    """A frame rate as a fraction. Raises InputError unless it is a number above 0 with terms up to 2^31 - 1."""
    if isinstance(frame_rate, bool) or not isinstance(frame_rate, int | float | Fraction):
        raise InputError(f"expected a frame rate as a number or Fraction, got {shortened(frame_rate)}")
    try:
        rate = Fraction(frame_rate)
    except (ValueError, OverflowError):
        raise InputError(f"expected a finite frame rate, got {frame_rate}") from None
    rate = rate.limit_denominator(MAX_RATE_BASE) if isinstance(frame_rate, float) else rate
    if not 0 < rate <= MAX_RATE or rate.denominator > MAX_RATE:
        raise InputError(f"expected a frame rate above 0 and up to {MAX_RATE}, got {shortened(frame_rate)}")
    return rate


def narrow(codes: Tensor, sizes: Sequence[int]) -> Tensor:
    """Codes in the smallest integer type that holds them, since those of a long clip are many."""
    return codes.to(torch.int16 if max(sizes) <= 1 << 15 else torch.int32)
