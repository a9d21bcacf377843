"""Images through the networks of a codec in tiles, whose results are those of the whole.

encoder:  bands of rows of positions, each in tiles with what the encoder sees around them
decoder:  tiles with the positions around them that the decoder sees
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.bitstream import ImageExtent
from narrows.codecs.codec import Codec
from narrows.tokenizers.windows import cut

TOP = 127.5  # a pixel p of 8 bits is p / 127.5 - 1 for the networks


class Tiles:
    """The networks of a codec, on pictures in tiles of at most `side` positions a side, where they see a bounded part.

    Networks that see all of a picture take it whole.
    """

    def __init__(self, codec: Codec, side: int) -> None:
        reaches = (codec.encoder.reach, codec.decoder.reach)
        self.codec, self.side = codec, max(side, *(4 * (reach or 0) for reach in reaches))

    @torch.inference_mode()
    def encoded(self, x: NDArray[np.generic], height: int, width: int, rows: int | None = None) -> Iterator[Tensor]:
        """Latents (N, D, rows, width) of one band after another, of images (N, C, H, W): floats in [-1, 1], or uint8.

        height, width: positions, over pixels that repeat the last ones. rows: of a band; of a tile unless given.
        """
        stride, encoder, rows = self.codec.stride, self.codec.encoder, rows or self.side
        if encoder.reach is None:
            z = encoder(self.pixels(x, 0, height * stride, 0, width * stride)).cpu()
            yield from z.split(rows, 2)
            return
        for first in range(0, height, rows):
            last = min(height, first + rows)
            start, stop = max(0, first - encoder.reach), min(height, last + encoder.reach)
            pieces = []
            for window in cut(width, self.side, encoder.reach):
                z = encoder(self.pixels(x, start * stride, stop * stride, window.start * stride, window.stop * stride))
                pieces.append(z[:, :, first - start : last - start, window.kept].cpu())
            yield torch.cat(pieces, 3)

    @torch.inference_mode()
    def decoded(self, latents: Tensor, extent: ImageExtent, setting: int | None, dtype: torch.dtype) -> Tensor:
        """Latents (N, D, H, W) to images (N, C, height, width): float32 in [-1, 1], or uint8."""
        stride, reach = self.codec.stride, self.codec.decoder.reach
        device = next(self.codec.parameters()).device
        out = torch.empty(len(latents), extent.channels, extent.height, extent.width, dtype=dtype)
        for rows in cut(latents.shape[2], self.side, reach):
            top, bottom = rows.first * stride, rows.last * stride
            for columns in cut(latents.shape[3], self.side, reach):
                z = latents[..., rows.start : rows.stop, columns.start : columns.stop].to(device)
                z = z.contiguous(memory_format=torch.channels_last)  # a quarter less time on CPUs
                with torch.autocast(device.type, enabled=False):
                    x = self.codec.synthesize(z, setting).clamp(-1, 1).cpu()
                kept = [slice(w.kept.start * stride, w.kept.stop * stride) for w in (rows, columns)]
                x = x[..., kept[0], kept[1]]
                if extent.channels == 1:
                    x = x.mean(1, keepdim=True)
                if dtype == torch.uint8:
                    x = ((x + 1) * TOP).round()
                place = out[..., top:bottom, columns.first * stride : columns.last * stride]
                place.copy_(x[..., : place.shape[2], : place.shape[3]])
        return out

    def pixels(self, x: NDArray[np.generic], top: int, bottom: int, left: int, right: int) -> Tensor:
        """Pixels of images (N, C, H, W) as (N, 3, bottom - top, right - left) in [-1, 1], the last ones repeated."""
        rows, columns = np.arange(top, bottom).clip(max=x.shape[2] - 1), np.arange(left, right).clip(max=x.shape[3] - 1)
        tile = torch.from_numpy(np.ascontiguousarray(x[..., rows[:, None], columns]).astype(np.float32))
        if x.dtype == np.uint8:
            tile = tile / TOP - 1
        tile = tile.clamp(-1, 1).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        return tile.to(next(self.codec.parameters()).device)
