"""Images through the networks of a codec in tiles, whose results are those of the whole.

encoder:  bands of rows of positions, each in tiles with the encoder's reach around them
decoder:  tiles with the decoder's reach around them
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

FULL_SCALE = 127.5  # an 8-bit pixel p is p / 127.5 - 1 for the networks


class ImageTiles:
    """The networks of a codec on images in tiles, where their reach is bounded; else on whole images.

    Args:
        codec: the network.
        side: positions of a tile's side at most.
    """

    def __init__(self, codec: Codec, side: int) -> None:
        reaches = (*codec.encoder.reach, *codec.decoder.reach)
        self.codec, self.side = codec, max(side, *(4 * max(reach or (0, 0)) for reach in reaches))

    @torch.no_grad()
    def encode(self, x: NDArray[np.generic], grid: tuple[int, int], rows: int | None = None) -> Iterator[Tensor]:
        """Latents (N S, D, rows, width) of consecutive bands of rows of positions.

        Args:
            x: images (N, C, H, W), floats in [-1, 1] or uint8.
            grid: positions (height, width); pixels beyond the image repeat the last ones.
            rows: positions of a band; None for those of a tile.
        """
        (height, width), encoder, rows = grid, self.codec.encoder, rows or self.side
        vertical, horizontal = encoder.reach
        if vertical is None or horizontal is None:
            z = encoder(self.pixels(x, slice(0, height), slice(0, width))).cpu()
            yield from z.split(rows, 2)
            return
        pieces = list[Tensor]()
        for band, columns in tiles(partial(bands, height, rows, vertical), partial(cut, width, self.side, horizontal)):
            z = encoder(self.pixels(x, band.source, columns.source))
            pieces.append(z[:, :, band.kept, columns.kept].cpu())
            if columns.last == width:
                yield torch.cat(pieces, 3)
                pieces.clear()

    @torch.no_grad()
    def decode(self, latents: Tensor, extent: ImageExtent, quality_index: int | None, dtype: torch.dtype) -> Tensor:
        """Latents (N S, D, h, w) to images (N, C, H, W), float32 in [-1, 1] or uint8."""
        codec, groups = self.codec, -(-extent.channels // self.codec.channels)
        device, (vertical, horizontal) = next(codec.parameters()).device, codec.decoder.reach
        out = torch.empty(len(latents) // groups, extent.channels, extent.height, extent.width, dtype=dtype)

        def run(z: Tensor) -> Tensor:
            z = z.to(device).contiguous(memory_format=torch.channels_last)  # a quarter less time on CPUs
            with torch.autocast(device.type, enabled=False):
                return codec.synthesize(z, quality_index).clamp(-1, 1).cpu()

        where = tiles(
            partial(cut, latents.shape[2], self.side, vertical), partial(cut, latents.shape[3], self.side, horizontal)
        )
        for (rows, columns), x in decode_tiles(latents, where, codec.stride, run):
            for image, groups_of_image in zip(out, x.split(groups), strict=True):
                pixels = ungroup_channels(groups_of_image, extent.channels)
                if dtype == torch.uint8:
                    pixels = ((pixels + 1) * FULL_SCALE).round()
                place = image[:, rows.target, columns.target]
                place.copy_(pixels[:, : place.shape[1], : place.shape[2]])
        return out

    def pixels(self, x: NDArray[np.generic], rows: slice, columns: slice) -> Tensor:
        """Pixels (N S, c, height, width) in [-1, 1] of images (N, C, H, W) at ranges of positions.

        Pixels beyond the image repeat the last ones.
        """
        places = [
            np.arange(each.start * stride, each.stop * stride).clip(max=size - 1)
            for each, stride, size in zip((rows, columns), self.codec.stride, x.shape[2:], strict=True)
        ]
        tile = torch.from_numpy(np.ascontiguousarray(x[..., places[0][:, None], places[1]]).astype(np.float32))
        if x.dtype == np.uint8:
            tile = tile / FULL_SCALE - 1
        tile = group_channels(tile.clamp(-1, 1), self.codec.channels).flatten(0, 1)
        return tile.contiguous(memory_format=torch.channels_last).to(next(self.codec.parameters()).device)
