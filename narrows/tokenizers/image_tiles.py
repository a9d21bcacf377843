"""Tiled encoding and decoding of images, with the same results as on whole images.

encoder:  the latent grid is computed in bands of rows, and each band in tiles that overlap by the encoder's reach
decoder:  the latent grid is decoded in tiles that overlap by the decoder's reach

Shapes: N images, each with S groups of c channels that are coded separately.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.codecs.codec import Codec
from narrows.media.extents import ImageExtent
from narrows.tokenizers.channels import group_channels, ungroup_channels
from narrows.tokenizers.windows import bands, cut, decode_tiles, tiles

FULL_SCALE = 127.5  # the networks get p / 127.5 - 1 for an 8-bit pixel p


class ImageTiles:
    """Runs the networks of a codec on tiles if their reach is bounded, otherwise on whole images.

    Args:
        codec: the codec.
        side: largest side of a tile, in latent positions; raised to at least four times the reach.
    """

    def __init__(self, codec: Codec, side: int) -> None:
        reaches = (*codec.encoder.reach, *codec.decoder.reach)
        self.codec, self.side = codec, max(side, *(4 * max(reach or (0, 0)) for reach in reaches))

    @torch.inference_mode()
    def encode(self, x: NDArray[np.generic], grid: tuple[int, int], rows: int | None = None) -> Iterator[Tensor]:
        """Encode images to the latents (N S, D, rows, width) of consecutive bands.

        Args:
            x: images (N, C, H, W), floats in [-1, 1] or uint8.
            grid: size of the latent grid (height, width); beyond the image its last row and column are repeated.
            rows: rows of latents per band; None for `side`.
        """
        (height, width), rows = grid, rows or self.side
        vertical, horizontal = self.codec.encoder.reach
        if vertical is None or horizontal is None:
            yield from self._analyze(x, slice(0, height), slice(0, width)).split(rows, 2)
            return
        pieces = list[Tensor]()
        for band, columns in tiles(partial(bands, height, rows, vertical), partial(cut, width, self.side, horizontal)):
            z = self._analyze(x, band.source, columns.source)
            pieces.append(z[:, :, band.kept, columns.kept])
            if columns.last == width:
                yield torch.cat(pieces, 3)
                pieces.clear()

    @torch.inference_mode()
    def decode(self, latents: Tensor, extent: ImageExtent, quality_index: int | None, dtype: torch.dtype) -> Tensor:
        """Decode latents (N S, D, h, w) to images (N, C, H, W), float32 in [-1, 1] or uint8."""
        codec, groups = self.codec, -(-extent.channels // self.codec.channels)
        device, (vertical, horizontal) = next(codec.parameters()).device, codec.decoder.reach
        with torch.inference_mode(False):  # the result can be used in training
            out = torch.empty(len(latents) // groups, extent.channels, extent.height, extent.width, dtype=dtype)

        def run(z: Tensor) -> Tensor:
            z = z.to(device).contiguous(memory_format=torch.channels_last)  # takes 25 % less time on CPUs
            with torch.autocast(device.type, enabled=False):
                return codec.synthesize(z, quality_index).float().clamp(-1, 1).cpu()

        grid_tiles = tiles(
            partial(cut, latents.shape[2], self.side, vertical), partial(cut, latents.shape[3], self.side, horizontal)
        )
        for (rows, columns), x in decode_tiles(latents, grid_tiles, codec.stride, run):
            for image, groups_of_image in zip(out, x.split(groups), strict=True):
                pixels = ungroup_channels(groups_of_image, extent.channels)
                if dtype == torch.uint8:
                    pixels = ((pixels + 1) * FULL_SCALE).round()
                target = image[:, rows.target, columns.target]
                target.copy_(pixels[:, : target.shape[1], : target.shape[2]])
        return out

    def _analyze(self, x: NDArray[np.generic], rows: slice, columns: slice) -> Tensor:
        """The latents of a range of rows and columns, float32, on the CPU."""
        pixels = self.pixels(x, rows, columns)
        with torch.autocast(pixels.device.type, enabled=False):
            return self.codec.analyze(pixels).float().cpu()

    def pixels(self, x: NDArray[np.generic], rows: slice, columns: slice) -> Tensor:
        """The pixels (N S, c, height, width), in [-1, 1], of a range of rows and columns of the latent grid.

        Beyond the image its last row and column are repeated.

        Args:
            x: images (N, C, H, W), floats in [-1, 1] or uint8.
            rows, columns: ranges of latent positions.
        """
        indices = [
            np.arange(positions.start * stride, positions.stop * stride).clip(max=size - 1)
            for positions, stride, size in zip((rows, columns), self.codec.stride, x.shape[2:], strict=True)
        ]
        tile = torch.from_numpy(np.ascontiguousarray(x[..., indices[0][:, None], indices[1]]).astype(np.float32))
        if x.dtype == np.uint8:
            tile = tile / FULL_SCALE - 1
        tile = group_channels(tile.clamp(-1, 1), self.codec.channels).flatten(0, 1)
        return tile.contiguous(memory_format=torch.channels_last).to(next(self.codec.parameters()).device)
