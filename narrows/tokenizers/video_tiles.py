"""Video through a causal codec: blocks of frames in time, tiles in space, with the same result as the whole clip.

frames ─ first frame repeated ─ blocks of whole latent frames ─ tiles ─ step(x, state) ─▶ latents, block by block

Each tile is a stream of its own with its own state, so memory does not grow with the number of frames, and nothing is
computed twice in time. In space, tiles overlap by the reach of the network.

The grid in time, for a stride of s: the first frame counts s times, so n frames make 1 + ceil((n - 1) / s) latent
frames, and an image is a clip of one frame. The last frame is repeated to a whole latent frame. Decoding drops the
first s - 1 frames and those after the n-th.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice, repeat

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.codecs.base import State
from narrows.codecs.codec import Codec
from narrows.media.extents import VideoExtent
from narrows.tokenizers.channels import group_channels, ungroup_channels
from narrows.tokenizers.image_tiles import FULL_SCALE
from narrows.tokenizers.windows import Tile, Window, cut, tiles

Frame = NDArray[np.generic]  # (C, H, W), floats in [-1, 1] or uint8
Frames = NDArray[np.generic]  # (C, T, H, W)


def latent_frames(frames: int, stride: int) -> int:
    """Latent frames of a clip of `frames` frames, from 1."""
    return 1 + -(-(frames - 1) // stride)


def padded(frames: Iterable[Frame], stride: int) -> Iterator[Frame]:
    """The frames with copies of the first and the last one: `stride` times `latent_frames` of them."""
    count = 0
    last: Frame | None = None
    for last in frames:
        yield from repeat(last, stride if count == 0 else 1)
        count += 1
    if last is not None:
        yield from repeat(last, stride * latent_frames(count, stride) - (count + stride - 1))


class VideoTiles:
    """Runs the causal networks of a codec on blocks of frames, tile by tile.

    Args:
        codec: the codec, whose encoder and decoder have `start` and `step`.
        side: largest side of a tile, in latent positions; raised to at least four times the reach.
        steps: latent frames of a block.
    """

    def __init__(self, codec: Codec, side: int, steps: int) -> None:
        reaches = (*codec.encoder.reach[1:], *codec.decoder.reach[1:])
        self.codec, self.steps = codec, steps
        self.side = max(side, *(4 * max(reach or (0, 0)) for reach in reaches))

    @torch.no_grad()
    def encode(self, frames: Iterable[Frame], grid: tuple[int, int]) -> Iterator[Tensor]:
        """Encode frames to latents (S, D, t, h, w), one block of up to `steps` latent frames after another.

        Args:
            frames: frames of one size, at least one.
            grid: height and width of the latent grid; beyond the frame its last row and column are repeated.
        """
        encoder, length = self.codec.encoder, self.codec.stride[0] * self.steps
        states = dict[Tile, State]()
        stream = padded(frames, self.codec.stride[0])
        for first in stream:
            block = np.stack([first, *islice(stream, length - 1)], 1)
            z: Tensor | None = None
            for tile in self._tiles(grid, encoder.reach):
                x = self._pixels(block, *tile)
                state = states[tile] if tile in states else encoder.start(len(x))
                with torch.autocast(x.device.type, enabled=False):
                    out, states[tile] = encoder.step(x, state)
                if z is None:
                    z = torch.empty(*out.shape[:3], *grid)
                rows, columns = tile
                z[..., rows.target, columns.target] = out[..., rows.kept, columns.kept].float().cpu()
            assert z is not None
            yield z

    @torch.no_grad()
    def decode(
        self, latents: Iterable[Tensor], extent: VideoExtent, skip: int, quality_index: int | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Decode latents to blocks of frames (C, t, H, W), float32 in [-1, 1]; in all `extent.frames` frames.

        Args:
            latents: consecutive latents (S, D, t, h, w).
            extent: of the frames that are returned.
            skip: decoded frames that come before the first one that is returned.
            quality_index: of the latents, for a codec with several qualities.
        """
        decoder, stride = self.codec.decoder, self.codec.stride
        states, left = dict[Tile, State](), extent.frames
        for z in latents:
            z = z.to(self._device, next(decoder.parameters()).dtype)
            shape = (extent.channels, z.shape[2] * stride[0], extent.height, extent.width)
            block = torch.empty(shape)
            for tile in self._tiles((z.shape[3], z.shape[4]), decoder.reach):
                rows, columns = tile
                piece = z[..., rows.source, columns.source]
                state = states[tile] if tile in states else decoder.start(len(piece))
                with torch.autocast(z.device.type, enabled=False):
                    if decoder.conditioned:
                        out, states[tile] = decoder.step(piece, state, quality_index)
                    else:
                        out, states[tile] = decoder.step(piece, state)
                x = ungroup_channels(out.float().clamp(-1, 1).cpu(), extent.channels)
                rows, columns = rows.scaled(stride[1]), columns.scaled(stride[2])
                target = block[..., rows.target, columns.target]
                target.copy_(x[..., rows.kept, columns.kept][..., : target.shape[2], : target.shape[3]])
            frames = block[:, skip : skip + left].numpy()
            skip, left = max(0, skip - shape[1]), left - frames.shape[1]
            if frames.shape[1]:
                yield frames
            if not left:
                return

    @property
    def _device(self) -> torch.device:
        return next(self.codec.parameters()).device

    def _tiles(self, grid: tuple[int, int], reach: tuple[tuple[int, int] | None, ...]) -> Iterator[Tile]:
        return tiles(*(partial(cut, size, self.side, each) for size, each in zip(grid, reach[1:], strict=True)))

    def _pixels(self, block: Frames, rows: Window, columns: Window) -> Tensor:
        """The pixels (S, c, T, height, width), in [-1, 1], of a tile of the latent grid."""
        indices = [
            np.arange(window.start * stride, window.stop * stride).clip(max=size - 1)
            for window, stride, size in zip((rows, columns), self.codec.stride[1:], block.shape[2:], strict=True)
        ]
        x = torch.from_numpy(np.ascontiguousarray(block[..., indices[0][:, None], indices[1]]).astype(np.float32))
        if block.dtype == np.uint8:
            x = x / FULL_SCALE - 1
        x = group_channels(x.clamp(-1, 1)[None], self.codec.channels).flatten(0, 1)
        return x.to(self._device, next(self.codec.encoder.parameters()).dtype)
