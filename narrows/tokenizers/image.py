"""The image tokenizer: an image codec with exact sizes, grey and colour, and tiles.

(C, H, W) ─ pad to whole blocks ─ tiles ─ encoder ─ bands of rows ─ bottleneck ─▶ Tokens ─▶ the same steps in reverse
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PILImage
from torch import Tensor

from narrows.bitstream import Reader as StreamReader
from narrows.bitstream import StreamHeader, recover
from narrows.bitstream.header import INDICES_PER_QUALITY
from narrows.bitstream.reader import check_size
from narrows.codecs.codec import Codec
from narrows.errors import DamagedStream, InputError, shortened
from narrows.media import image as media
from narrows.media.buffers import Bytes
from narrows.media.extents import Extent, ImageExtent
from narrows.media.files import Source
from narrows.media.image.resize import Resize
from narrows.media.image.signal import Pixels
from narrows.media.medium import Medium, Reader, Signal
from narrows.parts import part
from narrows.tokenizers.estimates import CHUNK_BYTES, HEADER_BYTES, image_bytes
from narrows.tokenizers.evaluations import evaluation_of
from narrows.tokenizers.image_alpha import ALPHA, alpha_attachment, attached_alpha
from narrows.tokenizers.image_arrays import Array, as_image, as_opaque, extent_of
from narrows.tokenizers.image_batches import ImageBatchEncoder
from narrows.tokenizers.image_rates import best_within, squared_error, weight_at
from narrows.tokenizers.image_tiles import FULL_SCALE, ImageTiles
from narrows.tokenizers.search import (
    DEFAULT_EFFORT,
    DEFAULT_MAX_PIXELS,
    ITERATIONS,
    Reference,
    check_effort,
    improve,
)
from narrows.tokenizers.settings import DecodeOptions, Output, check_numbers
from narrows.tokenizers.tokenizer import Item, Tokenizer
from narrows.tokenizers.tokens import Latents, Tokens, band

MAX_LAMBDA = 1e6


@part("image-tokenizer")
class ImageTokenizer(Tokenizer):
    """Tokenizes images of any size, grey or RGB, with an image codec.

    Sides are padded to whole blocks by repeating the last row and column, and grey is repeated in all channels. Large
    images are processed in overlapping tiles, which bounds the memory of the networks. The result is the same as
    without tiles.

    Args:
        codec: the codec, with two signal axes.
        lambdas: weights of the squared error (of 8-bit values) relative to bits per pixel that the codec was trained
            with, from the lowest quality to the highest. Qualities between them use interpolated weights. Needed for
            `effort`.

    Attributes:
        tile: largest side of a tile, in pixels.
        max_pixels: largest image for a codec with an unbounded reach, which processes every image whole.

    Raises:
        InputError: for a codec with another number of axes, and for lambdas out of range.
    """

    medium: ClassVar[Medium] = media.MEDIUM
    attachments: ClassVar[tuple[str, ...]] = (ALPHA,)
    open_options: ClassVar[tuple[str, ...]] = ("background",)
    decode_options: ClassVar[tuple[str, ...]] = ("background",)
    tile: int = 1024
    max_pixels: int = 1 << 22

    def __init__(self, codec: Codec, lambdas: Sequence[float] = ()) -> None:
        super().__init__(codec)
        if any(type(value) not in (int, float) or not 0 < value < MAX_LAMBDA for value in lambdas):
            raise InputError(f"expected lambdas above 0 and below {MAX_LAMBDA:g}, got {shortened(lambdas)}")
        self.lambdas = tuple(map(float, lambdas))
        multiple = self.entropy_model.multiple if self.entropy_model else 1
        self.block = (codec.stride[0] * multiple, codec.stride[1] * multiple)

    @property
    def tiles(self) -> ImageTiles:
        """The networks of the codec, run on tiles."""
        return ImageTiles(self.codec, self.tile // max(self.codec.stride))

    @property
    def positions_per_amount(self) -> float:
        """Latent positions per pixel."""
        return 1 / (self.codec.stride[0] * self.codec.stride[1])

    @property
    def settings(self) -> tuple[str, ...]:
        """`codebooks`; for an entropy model, the supported ones of `quality`, `bits_per_pixel` and `effort`."""
        if self.entropy_model is None:
            return ("codebooks",) if self.codebooks else ()
        settings = ("quality", "bits_per_pixel") if self.qualities > 1 else ()
        return settings if self._missing_for_effort else (*settings, "effort")

    def encode(
        self,
        x: Array,
        *,
        quality: float | None = None,
        codebooks: float | None = None,
        bits_per_pixel: float | None = None,
        effort: float | None = None,
    ) -> Tokens:
        """Encode an image to Tokens.

        Args:
            x: (C, H, W), C 1 or 3, floats in [-1, 1] or uint8; or an image of Pillow, converted as a file is, whose
                alpha plane is attached to the Tokens.
            quality: 1 to 8, for a model with several qualities; None for 4.
            codebooks: number of codebooks to keep; None for all K.
            bits_per_pixel: instead of a quality, the highest allowed rate; the best quality within it is used.
            effort: 0 (none) to 5. Above 0, an encoder-side search improves the codes, in 3 iterations at effort 1 and
                twice as many at each next effort. An iteration takes about as long as decoding twice. The result is
                never worse in lambda × squared error + bits. None for 1 if the model supports it and the image has at
                most 2^20 pixels, otherwise 0.

        Raises:
            InputError: for another shape or type, values that are not finite, settings out of range, and an effort
                above 0 if the model has no lambdas, no tables or no entropy model.
        """
        return self._encode(*as_image(x), quality, codebooks, bits_per_pixel, effort)

    def _encode(
        self,
        array: NDArray[np.generic],
        attachments: Mapping[str, bytes],
        quality: float | None = None,
        codebooks: float | None = None,
        bits_per_pixel: float | None = None,
        effort: float | None = None,
    ) -> Tokens:
        """See `encode`; the attachments count in `bits_per_pixel`."""
        check_numbers(bits_per_pixel=bits_per_pixel)
        keep = self.check_codebooks(codebooks)
        if effort is None:
            effort = DEFAULT_EFFORT if not self._missing_for_effort and array[0].size <= DEFAULT_MAX_PIXELS else 0
        effort = check_effort(effort)  # raises before anything is encoded
        if bits_per_pixel is not None:
            if quality is not None:
                raise InputError("expected a quality or bits_per_pixel, got both; leave one out")

            def encoded(index: int, effort: int) -> Tokens:
                return replace(self.encode_at(array, index, effort), attachments=attachments)

            return best_within(encoded, self.compress, self.qualities, bits_per_pixel, effort)
        tokens = self.encode_at(array, self.quality_index(quality), effort)
        tokens = tokens if codebooks is None else tokens[:, :keep]
        return replace(tokens, attachments=attachments)

    def encode_batch(
        self, images: Sequence[Array], *, quality: float | None = None, codebooks: float | None = None
    ) -> list[Tokens]:
        """Encode images in batches; returns the Tokens of each image.

        Images of equal size go through the networks together. The Tokens equal those of `encode` with effort 0, except
        where rounding errors decide between two nearly equal codes.
        """
        index, keep = self.quality_index(quality), self.check_codebooks(codebooks)
        checked, encoded = [as_image(x) for x in images], dict[int, Tokens]()
        arrays = [array for array, _ in checked]
        areas = [x.shape[1] * x.shape[2] for x in arrays]
        for group in _groups_of_equal([(x.shape, x.dtype) for x in arrays], areas, self._max_pixels_at_once):
            encoded |= zip(group, self._encode_stack(np.stack([arrays[i] for i in group]), index), strict=True)
        return [replace(encoded[i][:, :keep], attachments=attached) for i, (_, attached) in enumerate(checked)]

    def estimate(
        self, x: Array, *, quality: float | None = None, codebooks: float | None = None, **others: float | None
    ) -> int:
        """An estimate of the bytes of the stream of an image, before coding; a small part of the time of coding.

        For an entropy model from the size of a WebP file, by the evaluation of the model; docs/images.md has measured
        errors. For other models from their fixed rate.

        Args:
            x: see `encode`.
            quality, codebooks: see `encode`.
            others: refused: the estimate is for no effort, and `bits_per_pixel` states the size itself.

        Raises:
            InputError: as `encode`, for other settings, and for an entropy model without an evaluation in its
                checkpoint folder.
        """
        self._refuse_for_estimate(others)
        array, attachments = as_image(x)
        extent, index, keep = extent_of(array), self.quality_index(quality), self.check_codebooks(codebooks)
        attached = sum(map(len, attachments.values()))
        if self.entropy_model is None:
            grid = self.grid(extent)
            bits = self.rate(keep) / self.positions_per_amount * grid[0] * grid[1] * self.groups(extent.channels)
            return round(HEADER_BYTES + CHUNK_BYTES + bits / 8 + attached)
        levels: Any = (
            array if array.dtype == np.uint8 else ((array.clip(-1, 1) + 1) * FULL_SCALE).round().astype(np.uint8)
        )
        points = [] if self.folder is None else evaluation_of(self.folder)
        coded = image_bytes(media.Image(levels), points, self.name, 1 + index / INDICES_PER_QUALITY)
        return round(HEADER_BYTES + CHUNK_BYTES + coded + attached)

    @torch.no_grad()
    def encode_latents(self, x: Array) -> Latents:
        """Encode an image to the Latents of a continuous bottleneck, without quantization.

        Raises InputError for a model with another bottleneck, for transparent pixels, and as `encode` does.
        """
        array, continuous = as_opaque(x), self.continuous
        extent = extent_of(array)
        z = torch.cat(list(self.tiles.encode(array[None], self.grid(extent))), 2)
        with torch.autocast(self.device.type, enabled=False):
            values = continuous.encode_latents(z.to(self.device)).float().cpu()
        return Latents(values, extent, self.name, self.fingerprint)

    def encode_signal(self, signal: Signal, **settings: float | None) -> Tokens:
        """Encode an Image to Tokens; settings as for `encode`. Its alpha plane is attached to them, lossless."""
        if not isinstance(signal, media.Image):
            raise InputError(f"expected an Image for {self.name}, got a signal of {signal.medium}")
        given = self.check_settings(settings)
        return self._encode(signal.pixels, alpha_attachment(signal.alpha), **given)

    def encode_reader(self, reader: Reader, **settings: float | None) -> Tokens:
        """Encode an open image file to Tokens; settings as for `encode`."""
        if not isinstance(reader, media.ImageReader):
            raise InputError(f"expected an ImageReader for {self.name}, got {type(reader).__name__}")
        return self.encode_signal(reader.read(), **settings)

    def open(
        self,
        source: Source,
        background: str | None = None,
        *,
        sound: bool | None = None,
        recover: bool | None = None,
    ) -> Reader:
        """See `Tokenizer.open`."""
        self.check_only_video(sound=sound, recover=recover)
        return media.ImageReader(source, background)

    def check_background(self, background: str | None) -> None:
        """See `Tokenizer.check_background`."""
        if background is not None:
            media.colour_of(background)

    def check_resize(self, resize: Resize | None) -> None:
        """See `Tokenizer.check_resize`."""

    def batch_encoder(
        self,
        batch: int = 1,
        latents: bool = False,
        background: str | None = None,
        resize: Resize | None = None,
        **settings: float | None,
    ) -> ImageBatchEncoder:
        """See `Tokenizer.batch_encoder`."""
        self.check_background(background)
        given = self.check_settings(settings)

        def encode(images: list[Pixels]) -> list[Any]:
            if latents:
                return [self.encode_latents(x) for x in images]
            return self.encode_batch(images, **given)

        return ImageBatchEncoder(encode, lambda x: self.grid(extent_of(x)), batch, background, resize)

    def decode(self, tokens: Tokens) -> Tensor:
        """Decode Tokens to an image (C, H, W) float32 in [-1, 1], with the size and channels of the encoded image.

        Raises WrongModel for tokens of another model, and InputError for codes that do not match their extent.
        """
        return self._decoded(tokens, torch.float32)

    def decode_latents(self, latents: Latents) -> Tensor:
        """Decode Latents to an image (C, H, W) float32 in [-1, 1]."""
        return self._decoded(latents, torch.float32)

    def decode_batch(self, batch: Sequence[Tokens]) -> list[Tensor]:
        """Decode a list of Tokens; returns the image of each, equal to that of `decode` up to rounding errors.

        Tokens of equal size, quality and number of codebooks go through the networks together.
        """
        decoded, extents = dict[int, Tensor](), [self._check_item_and_grid(tokens) for tokens in batch]
        keys = [(extent, tokens.quality_index, tokens.radices) for extent, tokens in zip(extents, batch, strict=True)]
        for group in _groups_of_equal(keys, [int(extent.amount) for extent in extents], self._max_pixels_at_once):
            first, codes = group[0], torch.cat([batch[i].codes for i in group])
            latents, index = self._latents(codes, batch[first]), batch[first].quality_index
            decoded |= zip(group, self.tiles.decode(latents, extents[first], index, torch.float32), strict=True)
        return [decoded[i] for i in range(len(batch))]

    @torch.no_grad()
    def decode_signal(self, item: Item) -> media.Image:
        """Decode an .nrw stream, Tokens or Latents to an Image, 8 bits per channel, with its alpha plane if attached.

        Raises as `decode` and `decompress`, and DamagedStream for an attachment that is no alpha plane of this size.
        """
        if isinstance(item, Tokens | Latents):
            pixels = self._decoded(item, torch.uint8).numpy()
            alpha = attached_alpha(item.attachments, extent_of(pixels)) if isinstance(item, Tokens) else None
            return media.Image(pixels, alpha)
        if self.entropy_model is None:
            return self.decode_signal(self.decompress(item))
        # An entropy model predicts its tables and the latents in one pass.
        header = self._header(item)
        reader = StreamReader(item, self.coding_tables)
        reader.verify()
        extent = self._check_grid(header, header.grid)
        alpha = attached_alpha(reader.attachments(), extent)
        latents = torch.empty(header.groups, self.entropy_model.dim, *header.grid)
        for chunk in reader:
            latents[:, :, chunk.start : chunk.stop] = chunk.model_output
        return media.Image(self.tiles.decode(latents, extent, header.quality_index, torch.uint8)[0].numpy(), alpha)

    def decode_image(self, item: Item) -> PILImage.Image:
        """Decode an .nrw stream, Tokens or Latents to an image of Pillow, of mode L, LA, RGB or RGBA.

        Raises as `decode_signal`.
        """
        return self.decode_signal(item).as_pil()

    def recover(self, data: Bytes) -> tuple[Tokens, list[tuple[float, float]]]:
        """Recover a damaged .nrw stream: the Tokens with grey for lost chunks, and the lost spans in rows of pixels.

        Tokens without the attachment of a stream with alpha mean that the alpha plane is lost.

        Raises what `decompress` raises for the header, model and tables, and DamagedStream if no chunk is intact.
        """
        header = self._header(data)
        recovered = recover(data, self.coding_tables)
        extent, codes, rows = self._check_grid(header, header.grid), torch.from_numpy(recovered.codes), []
        for lost in recovered.damaged:
            start, stop = (position * self.codec.stride[0] for position in (lost.start, lost.stop))
            grey = np.full((extent.channels, stop - start, extent.width), 128, np.uint8)
            codes[:, :, lost.start : lost.stop] = self.encode_at(grey, header.quality_index or 0).codes[
                :, : codes.shape[1]
            ]
            rows.append((float(start), float(min(stop, extent.height))))
        intact = {name: payload for name, payload in recovered.attachments.items() if payload is not None}
        try:
            attached_alpha(intact, extent)
        except DamagedStream:
            intact.pop(ALPHA)
        fingerprint = header.fingerprint.hex()
        return Tokens(codes, header.radices, extent, header.model, fingerprint, header.quality_index, intact), rows

    def _decode_to(self, output: Output, item: Item, options: DecodeOptions) -> Extent:
        """See `decode_file`."""
        background = options.get("background")
        self.check_background(background)
        image = self.decode_signal(item)
        image = image if background is None else image.flattened(background)
        media.write(output.target, image.pixels, alpha=image.alpha, overwrite=output.overwrite, format=output.format)
        return image.extent

    def compress(self, tokens: Tokens) -> bytes:
        """Compress Tokens to an .nrw stream. Raises as `decode` does, and InputError if required tables are missing."""
        if isinstance(tokens, Tokens):
            self._check_item_and_grid(tokens)
        return super().compress(tokens)

    def encode_at(self, x: NDArray[np.generic], quality_index: int, effort: int = 0) -> Tokens:
        """Encode an image (C, H, W), floats in [-1, 1] or uint8, at a quality index, 0 to `qualities - 1`."""
        effort = check_effort(effort)
        weight = self._weight(quality_index) if effort else 0.0  # raises before anything is encoded
        tokens = self._encode_stack(x[None], quality_index)[0]
        if not effort:
            return tokens
        tiles, grid = self.tiles, cast(tuple[int, int], tuple(tokens.codes.shape[2:]))
        bit_costs = self.bit_costs
        assert bit_costs is not None
        reference = Reference(
            lambda rows: tiles.pixels(x[None], rows, slice(0, grid[1])),
            (band[0].to(self.device) for band in self._bands(x[None], grid)),
            weight * FULL_SCALE**2,
            bit_costs,
        )
        latents = self._latents(tokens.codes, tokens)[0].to(self.device)
        better = improve(self.codec, tokens, latents, reference, ITERATIONS[effort])
        return min(tokens, better, key=lambda candidate: self._cost(x, candidate, weight))

    def grid(self, extent: ImageExtent) -> tuple[int, int]:
        """Size of the latent grid of an image, in whole blocks. Raises InputError for an image that is too large."""
        if not self.codec.bounded and extent.height * extent.width > self.max_pixels:
            raise InputError(
                f"expected at most {self.max_pixels} pixels, since {self.name} takes an image whole, got "
                f"{extent.width} × {extent.height}; cut it into parts"
            )
        sides = [
            -(-size // block) * (block // stride)
            for size, block, stride in zip(extent.size, self.block, self.codec.stride, strict=True)
        ]
        return sides[0], sides[1]

    @property
    def _missing_for_effort(self) -> str | None:
        """The first requirement of the search that this model lacks; None if it lacks none."""
        needed = {"entropy model": self.entropy_model, "tables": self.tables, "lambdas": self.lambdas or None}
        return next((name for name, value in needed.items() if value is None), None)

    def _weight(self, quality_index: int) -> float:
        """Lambda at a quality index. Raises InputError if the model does not support an effort."""
        if self._missing_for_effort:
            raise InputError(
                f"expected no effort for {self.name}, which has no {self._missing_for_effort}, got one; leave it out"
            )
        return weight_at(self.lambdas, quality_index, self.qualities)

    def _cost(self, x: NDArray[np.generic], tokens: Tokens, weight: float) -> float:
        """Bits of the stream + weight × squared error of 8-bit values, averaged over channels."""
        error = squared_error(x, self._decoded(tokens, torch.uint8).numpy())
        return 8 * len(self.compress(tokens)) + weight * error / len(x)

    @torch.no_grad()
    def _encode_stack(self, x: NDArray[np.generic], quality_index: int) -> list[Tokens]:
        """Encode images (N, C, H, W)."""
        extent = extent_of(x[0])
        latents, model = self._bands(x, self.grid(extent)), self.entropy_model
        with torch.autocast(self.device.type, enabled=False):
            if model is None:
                codes = self.codec.bottleneck.encode(torch.cat(list(latents), 2).to(self.device)).cpu()
            else:
                costs = self.bit_costs
                bands = [model.encode(z.to(self.device), quality_index, costs).short().cpu() for z in latents]
                codes = torch.cat(bands, 2)
        radices, index = self.codec.bottleneck.radices, quality_index if model else None
        images = codes.split(self.groups(extent.channels))
        return [Tokens(image, radices, extent, self.name, self.fingerprint, index) for image in images]

    def _bands(self, x: NDArray[np.generic], grid: tuple[int, int]) -> Iterator[Tensor]:
        """Latents (N S, D, rows, width) of consecutive bands, which the bottleneck codes independently."""
        return self.tiles.encode(
            x, grid, self._band_rows(grid[1], self.groups(x.shape[1])) if self.entropy_model else None
        )

    @torch.no_grad()
    def _decoded(self, item: Tokens | Latents, dtype: torch.dtype) -> Tensor:
        extent = self._check_item_and_grid(item)
        index = item.quality_index if isinstance(item, Tokens) else None
        if isinstance(item, Tokens):
            latents = self._latents(item.codes, item)
        else:
            with torch.autocast(self.device.type, enabled=False):
                latents = self.continuous.decode_latents(item.values.to(self.device)).cpu()
        return self.tiles.decode(latents, extent, index, dtype)[0]

    def _latents(self, codes: Tensor, like: Tokens) -> Tensor:
        """Latents (N S, D, H, W) of codes (N S, K, H, W) with the quality and chunk size of `like`."""
        codes, model = codes.to(self.device), self.entropy_model
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            if model is None:
                return self.codec.bottleneck.decode(codes).cpu()
            assert like.quality_index is not None
            bands = codes.split(like.steps, 2)
            return torch.cat([model.decode(band.long(), like.quality_index).cpu() for band in bands], 2)

    @property
    def _max_pixels_at_once(self) -> int:
        """Maximum number of pixels per batch, over all images of the batch."""
        return self.tiles.side**2 * self.codec.stride[0] * self.codec.stride[1]

    def _band_rows(self, width: int, groups: int) -> int:
        """Latent rows that the bottleneck codes together: those of one chunk of the stream."""
        return band(2, groups * self.codebooks * width)

    def _header(self, data: Bytes) -> StreamHeader:
        """Read the header of a stream and check it before memory is allocated."""
        header = super()._header(data)
        check_size(header)
        extent = self._check_grid(header, header.grid)
        groups = self.groups(extent.channels)
        if header.groups != groups or (self.entropy_model and header.steps != self._band_rows(header.grid[1], groups)):
            raise InputError(
                f"expected a stream of {self.name}, got one of {header.groups} groups in bands of {header.steps} rows"
            )
        return header

    def _check_item_and_grid(self, item: Tokens | Latents) -> ImageExtent:
        """Run `check_item`, and check that the grid matches the size of the image."""
        self.check_item(item)
        return self._check_grid(item, (item.codes if isinstance(item, Tokens) else item.values).shape[2:])

    def _check_grid(self, item: Tokens | Latents | StreamHeader, grid: Sequence[int]) -> ImageExtent:
        """Return the extent. Raises InputError for an item that this codec cannot have made."""
        extent = item.extent
        if not isinstance(extent, ImageExtent):
            raise InputError(f"expected tokens of an image, got tokens of {extent.medium}")
        if extent.channels not in (1, 3):
            raise InputError(f"expected an image of 1 or 3 channels, got {extent.channels}")
        if tuple(grid) != self.grid(extent):
            size = f"{extent.height} × {extent.width} pixels and {extent.channels} channels"
            raise InputError(f"expected a grid {self.grid(extent)} for {size}, got {tuple(grid)}")
        if not isinstance(item, Latents):
            self._check_codebooks_of(item.radices, item.quality_index)
        return extent


def _groups_of_equal(keys: Sequence[Hashable], areas: Sequence[int], max_pixels: int) -> Iterator[list[int]]:
    """Groups of indices with equal keys, of at most `max_pixels` in total but at least one index."""
    indices: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        indices.setdefault(key, []).append(index)
    for equal in indices.values():
        count = max(1, max_pixels // areas[equal[0]])
        yield from (equal[start : start + count] for start in range(0, len(equal), count))
