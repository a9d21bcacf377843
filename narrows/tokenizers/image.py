"""Images in, tokens out: an image codec with exact sizes, grey and colour, and tiles.

(C, H, W) ─ padded to whole blocks ─ tiles ─ encoder ─ bands of rows ─ bottleneck ─▶ Tokens ─▶ the same in reverse
"""

from collections.abc import Hashable, Iterator, Sequence
from math import exp, log
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.bitstream import ImageExtent, Reader, StreamHeader, Tables, read_header
from narrows.bitstream.header import SETTINGS_A_QUALITY
from narrows.bitstream.reader import check_size
from narrows.codecs.bottlenecks.entropy.base import EntropyModel
from narrows.codecs.codec import Codec
from narrows.errors import InputError
from narrows.media import image as media
from narrows.tokenizers.search import ROUNDS, USUAL, USUAL_PIXELS, check_effort, improved
from narrows.tokenizers.tiles import TOP, Tiles
from narrows.tokenizers.tokenizer import Tokenizer
from narrows.tokenizers.tokens import Tokens

Pixels = NDArray[np.uint8]
Image = Tensor | NDArray[np.floating] | Pixels


class ImageTokenizer(Tokenizer):
    """A codec for RGB images in [-1, 1], made to take pictures of any size, grey or RGB.

    Sides are padded to whole blocks by repeating the last pixels; grey is coded as three equal channels. Large images
    are cut into tiles of `tile` pixels a side whose results are the same as those of the whole, so memory does not grow
    with what the networks need. A network that sees all of a picture takes it whole, up to `largest` pixels.
    tables, fingerprint: as in Tokenizer. lambdas: what the codec was trained for: weights of the squared error against
    bits, from the lowest quality to the highest, between which they are interpolated.
    """

    def __init__(
        self,
        codec: Codec,
        name: str = "custom",
        fingerprint: str | None = None,
        tables: Tables | None = None,
        tile: int = 1024,
        largest: int = 1 << 22,
        lambdas: Sequence[float] = (),
    ) -> None:
        codec.check_axes(2)
        super().__init__(codec, name, fingerprint, tables)
        self.lambdas = tuple(lambdas)
        bottleneck = codec.bottleneck
        self.model = bottleneck if isinstance(bottleneck, EntropyModel) else None
        self.block = codec.stride * (self.model.multiple if self.model else 1)
        self.tiles = Tiles(codec, tile // codec.stride)
        self.largest = largest

    @property
    def qualities(self) -> int:
        """How many qualities there are, 1 where the codec has no choice."""
        return self.model.qualities if self.model else 1

    def setting(self, quality: float) -> int:
        """The setting nearest to a quality from 1, the smallest file, to 8, the best picture.

        Raises InputError for a quality outside of that, and for a model without qualities.
        """
        if self.qualities == 1:
            raise InputError(f"a quality was given; {self.name} has only one, leave it out")
        if not 1 <= quality <= 8:
            raise InputError(f"quality {quality:g} given, 1 to 8 wanted; 1 is the smallest file, 8 the best picture")
        return round((quality - 1) * SETTINGS_A_QUALITY)

    def encode(
        self, x: Image, quality: float | None = None, codebooks: int | None = None, effort: int | None = None
    ) -> Tokens:
        """An image (C, H, W), C 1 or 3, to Tokens: floats in [-1, 1], or uint8.

        quality: 1 to 8 where the model has several, 4 unless given. codebooks: how many of the K to keep; all of them
        unless given. effort: 0, none, to 5: codes are improved in closed loop with the decoder, in 3 rounds at effort 1
        and twice as many with each more; a round takes about as long as two decodings. The result is never worse in
        lambda × squared error + bits. Unless given 1 for pictures of at most 2^20 pixels where the model can, else 0.
        Raises InputError for other shapes and types, for what is not finite, for another quality, number of
        codebooks or effort, and for an effort where the model has no lambdas, no tables or no entropy model.
        """
        array = _as_array(x)
        tokens = self.encode_at(array, self.chosen(quality), self._effort(effort, array))
        return tokens if codebooks is None else tokens[:, : self.check_codebooks(codebooks)]

    def encode_batch(
        self, images: Sequence[Image], quality: float | None = None, codebooks: int | None = None
    ) -> list[Tokens]:
        """Each of several images to its Tokens, as `encode` with effort 0 gives them up to ties of rounding.

        Those of one size go through the networks together.
        """
        setting = self.chosen(quality)
        arrays, found = [_as_array(x) for x in images], dict[int, Tokens]()
        areas = [x.shape[1] * x.shape[2] for x in arrays]
        for alike in _alike([(x.shape, x.dtype) for x in arrays], areas, self._most):
            found |= zip(alike, self._quantized(np.stack([arrays[index] for index in alike]), setting), strict=True)
        each = [found[index] for index in range(len(arrays))]
        return each if codebooks is None else [tokens[:, : self.check_codebooks(codebooks)] for tokens in each]

    def encode_file(
        self, path: str | Path, quality: float | None = None, codebooks: int | None = None, effort: int | None = None
    ) -> Tokens:
        """A file of a picture to Tokens. Raises MediaError when it cannot be read, and what `encode` raises."""
        return self.encode(media.read(path).transpose(2, 0, 1), quality, codebooks, effort)

    @torch.inference_mode()
    def narrow(self, x: Image) -> Tensor:
        """An image to the real numbers (channels, h, w) of a continuous bottleneck: what a diffusion model learns.

        Nothing is rounded. Raises InputError for another bottleneck, and as `encode`.
        """
        array = _as_array(x)
        grid = self.grid(ImageExtent(array.shape[1], array.shape[2], array.shape[0]))
        z = torch.cat(list(self.tiles.encoded(array[None], *grid)), 2)
        return self.continuous.encode_latents(z.to(self.device))[0].cpu()

    @torch.inference_mode()
    def widen(self, y: Tensor, height: int, width: int) -> Tensor:
        """Real numbers (channels, h, w), as `narrow` gives them, to an image (3, height, width) in [-1, 1]."""
        bottleneck, extent = self.continuous, ImageExtent(height, width, 3)
        wanted = (bottleneck.channels, *self.grid(extent))
        if tuple(y.shape) != wanted:
            raise InputError(f"numbers of shape {tuple(y.shape)} given for {height} × {width} pixels, {wanted} wanted")
        return self.tiles.decoded(
            bottleneck.decode_latents(y[None].to(self.device)).cpu(), extent, None, torch.float32
        )[0]

    def encode_below(self, x: Image, bits_per_pixel: float, effort: int | None = None) -> Tokens:
        """The best Tokens of an image, as `encode` takes it, whose stream takes at most so many bits a pixel.

        effort: as in `encode`, for the setting that is best without, and then for better ones while they fit.
        Raises InputError as `encode` does, and where even the smallest takes more without any effort.
        """
        array = _as_array(x)
        effort = self._effort(effort, array)
        low, high, best = 0, self.qualities - 1, None
        while low <= high:
            middle = (low + high) // 2
            tokens = self.encode_at(array, middle)
            spent = 8 * len(self.compress(tokens)) / (array.shape[1] * array.shape[2])
            if spent <= bits_per_pixel:
                best, low = tokens, middle + 1
            else:
                high = middle - 1
        if best is None:
            raise InputError(f"{bits_per_pixel:g} bits a pixel asked for; the least for this picture is {spent:.3f}")
        for setting in range(high, self.qualities if effort else high):
            tokens = self.encode_at(array, setting, effort)
            if 8 * len(self.compress(tokens)) > bits_per_pixel * array.shape[1] * array.shape[2]:
                break
            best = tokens
        return best

    def decode(self, tokens: Tokens) -> Tensor:
        """Tokens to an image (C, H, W) float32 in [-1, 1], of the size and channels that it had.

        Raises WrongModel for tokens of another model, InputError for codes that do not fit their extent.
        """
        self.check_model(tokens.model, tokens.fingerprint)
        extent = self._extent(tokens, tokens.codes.shape[2:])
        return self.tiles.decoded(self._latents(tokens.codes, tokens), extent, tokens.setting, torch.float32)[0]

    def decode_batch(self, batch: Sequence[Tokens]) -> list[Tensor]:
        """Each of several Tokens to its image, as `decode` gives it up to the rounding of sums.

        Those of one size, quality and number of codebooks go through the networks together.
        """
        found, extents = dict[int, Tensor](), list[ImageExtent]()
        for tokens in batch:
            self.check_model(tokens.model, tokens.fingerprint)
            extents.append(self._extent(tokens, tokens.codes.shape[2:]))
        kinds = [(extent, tokens.setting, tokens.radices) for extent, tokens in zip(extents, batch, strict=True)]
        for alike in _alike(kinds, [extent.height * extent.width for extent in extents], self._most):
            first, codes = alike[0], torch.cat([batch[index].codes for index in alike])
            latents = self._latents(codes, batch[first])
            found |= zip(
                alike, self.tiles.decoded(latents, extents[first], batch[first].setting, torch.float32), strict=True
            )
        return [found[index] for index in range(len(batch))]

    def pixels(self, tokens: Tokens) -> Pixels:
        """Tokens to an image (C, H, W), 8 bits a channel."""
        self.check_model(tokens.model, tokens.fingerprint)
        extent = self._extent(tokens, tokens.codes.shape[2:])
        return self.tiles.decoded(self._latents(tokens.codes, tokens), extent, tokens.setting, torch.uint8)[0].numpy()

    def compress(self, tokens: Tokens) -> bytes:
        """Tokens to an .nrw stream. Raises what `decode` raises for tokens, InputError where tables are needed."""
        if self.model is not None and self.tables is None:
            raise InputError(f"{self.name} was to code without tables, and cannot; leave out --raw, or give it tables")
        self._extent(tokens, tokens.codes.shape[2:])
        return super().compress(tokens)

    def decompress(self, data: bytes) -> Tokens:
        """An .nrw stream to Tokens. Raises what `Tokens.decompress` raises, InputError for no stream of this model."""
        self._header(data)
        return super().decompress(data)

    @torch.inference_mode()
    def open(self, data: bytes) -> tuple[Tokens, Pixels]:
        """An .nrw stream to its Tokens and pixels (C, H, W), in one go: tables are chosen once for both."""
        header = self._header(data)
        if self.model is None:
            tokens = super().decompress(data)
            return tokens, self.pixels(tokens)
        reader = Reader(data, self.prior)
        reader.verify()
        codes = np.empty(header.shape, header.dtype)
        latents = torch.empty(self.model.dim, *header.grid)
        for chunk in reader:
            codes[:, :, chunk.start : chunk.stop] = chunk.codes
            latents[:, chunk.start : chunk.stop] = chunk.made[0]
        fingerprint = header.fingerprint.hex()
        tokens = Tokens(
            torch.from_numpy(codes), header.radices, header.extent, header.model, fingerprint, header.setting
        )
        extent = self._extent(tokens, header.grid)
        return tokens, self.tiles.decoded(latents[None], extent, tokens.setting, torch.uint8)[0].numpy()

    def encode_at(self, x: NDArray[np.generic], setting: int, effort: int = 0) -> Tokens:
        """An image (C, H, W), floats in [-1, 1] or uint8, to Tokens of a setting, 0 to `qualities` - 1."""
        check_effort(effort)
        weight = self._weight(setting) if effort else 0.0  # refused before anything is encoded
        tokens = self._quantized(x[None], setting)[0]
        if not effort:
            return tokens
        height, width = tokens.codes.shape[2:]

        def pixels(top: int, bottom: int) -> Tensor:
            return self.tiles.pixels(x[None], top, bottom, 0, x.shape[2])

        bands = (band[0].to(self.device) for band in self._bands(x[None], height, width))
        latents = self._latents(tokens.codes, tokens)[0].to(self.device)
        assert self.bit_costs is not None
        better = improved(self.codec, tokens, pixels, bands, latents, weight * TOP**2, ROUNDS[effort], self.bit_costs)
        return min(tokens, better, key=lambda each: self._cost(x, each, weight))

    @property
    def _lacking(self) -> str | None:
        """What an effort would be measured by, and is not there."""
        known = {"entropy model": self.model, "tables": self.tables, "lambdas": self.lambdas or None}
        return next((name for name, what in known.items() if what is None), None)

    def _effort(self, effort: int | None, x: NDArray[np.generic]) -> int:
        if effort is not None:
            return effort
        return USUAL if self._lacking is None and x.shape[1] * x.shape[2] <= USUAL_PIXELS else 0

    def _weight(self, setting: int) -> float:
        """Lambda of a setting. Raises InputError where an effort cannot be made."""
        if self._lacking:
            raise InputError(f"an effort was given; {self.name} has no {self._lacking} to measure it by, leave it out")
        place = setting / max(1, self.qualities - 1) * (len(self.lambdas) - 1)
        return exp(np.interp(place, range(len(self.lambdas)), [log(each) for each in self.lambdas]))

    def _cost(self, x: NDArray[np.generic], tokens: Tokens, weight: float) -> float:
        """Bits of the stream + weight × squared error in 8-bit steps, the mean of the channels."""
        wanted = x if x.dtype == np.uint8 else (x.clip(-1, 1) + 1) * TOP
        pairs = zip(wanted, self.pixels(tokens), strict=True)
        error = sum(float(np.square(np.subtract(a, b, dtype=np.float32)).sum(dtype=np.float64)) for a, b in pairs)
        return 8 * len(self.compress(tokens)) + weight * error / len(x)

    @torch.inference_mode()
    def _quantized(self, x: NDArray[np.generic], setting: int) -> list[Tokens]:
        """Images (N, C, H, W) of one size to Tokens."""
        extent = ImageExtent(x.shape[2], x.shape[3], x.shape[1])
        latents, model = self._bands(x, *self.grid(extent)), self.model
        with torch.autocast(self.device.type, enabled=False):
            if model is None:
                codes = self.codec.bottleneck.encode(torch.cat(list(latents), 2).to(self.device)).cpu()
            else:
                pieces = [model.encode(band.to(self.device), setting, self.bit_costs).short().cpu() for band in latents]
                codes = torch.cat(pieces, 2)
        radices, number = self.codec.bottleneck.radices, setting if model else None
        return [Tokens(each, radices, extent, self.name, self.fingerprint, number) for each in codes.split(1)]

    def _bands(self, x: NDArray[np.generic], height: int, width: int) -> Iterator[Tensor]:
        """Latents (N, D, rows, width) of one band of the bottleneck after another."""
        return self.tiles.encoded(x, height, width, self._band(width) if self.model else None)

    def _latents(self, codes: Tensor, of: Tokens) -> Tensor:
        """Latents (N, D, H, W) of codes (N, K, H, W), all as those `of` one picture."""
        codes, model = codes.to(self.device), self.model
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            if model is None:
                return self.codec.bottleneck.decode(codes).cpu()
            assert of.setting is not None
            return torch.cat([model.decode(band.long(), of.setting).cpu() for band in codes.split(of.steps, 2)], 2)

    @property
    def bit_costs(self) -> Tensor | None:
        """Bits of symbols, for models that round by rate."""
        return None if self.tables is None else torch.from_numpy(self.tables.bit_costs).to(self.device)

    @property
    def _most(self) -> int:
        """Pixels that go through the networks together, of several images."""
        return (self.tiles.side * self.codec.stride) ** 2

    def chosen(self, quality: float | None) -> int:
        """The setting of a quality, 4 unless given."""
        if quality is None and self.qualities == 1:
            return 0
        return self.setting(4 if quality is None else quality)

    def grid(self, extent: ImageExtent) -> tuple[int, int]:
        """Positions that an image takes: whole blocks. Raises InputError for more than the networks take at once."""
        if self.codec.reach is None and extent.height * extent.width > self.largest:
            size = f"{extent.width} × {extent.height} pixels"
            raise InputError(f"{size} given; {self.name} sees all of a picture, at most {self.largest} pixels; cut it")
        each = self.block // self.codec.stride
        return -(-extent.height // self.block) * each, -(-extent.width // self.block) * each

    def _band(self, width: int) -> int:
        """Rows of positions that the bottleneck takes together."""
        shape = (1, len(self.codec.bottleneck.codebook_sizes), 1, width)
        extent = ImageExtent(1, 1, 1)
        radices = self.codec.bottleneck.radices
        return Tokens(torch.zeros((), dtype=torch.int16).expand(shape), radices, extent, "", "", 0).steps

    def _header(self, data: bytes) -> StreamHeader:
        """The header of a stream, once nothing in it can lead astray: nothing is allocated before."""
        header = read_header(data)
        self.check_model(header.model, header.fingerprint.hex())
        check_size(header)
        self._extent(header, header.grid)
        if header.signals != 1 or (self.model and header.steps != self._band(header.grid[1])):
            raise InputError(
                f"a stream of {header.signals} signals in bands of {header.steps} given, not of {self.name}"
            )
        return header

    def _extent(self, of: Tokens | StreamHeader, grid: Sequence[int]) -> ImageExtent:
        """Height, width and channels. Raises InputError for what this codec cannot have made."""
        extent, bottleneck = of.extent, self.codec.bottleneck
        if not isinstance(extent, ImageExtent):
            raise InputError(f"tokens of {extent.medium} given, those of an image wanted")
        if extent.channels not in (1, 3) or tuple(grid) != self.grid(extent):
            size = f"{extent.height} × {extent.width} pixels and {extent.channels} channels"
            raise InputError(f"a grid {tuple(grid)} given for {size}, which it does not fit")
        books = self.check_codebooks(len(of.radices))
        if of.radices != bottleneck.radices[:books]:
            raise InputError(f"codebooks of other sizes given than those of {self.name}; use the model they are from")
        if (of.setting is None) != (self.model is None) or (of.setting or 0) >= self.qualities:
            raise InputError(f"setting {of.setting} given; {self.name} has {self.qualities}")
        return extent


def _as_array(x: Image) -> NDArray[np.generic]:
    """An image (C, H, W) as an array, once its shape, type and numbers are found to be fit."""
    if isinstance(x, Tensor):
        x = (x.float() if x.dtype == torch.bfloat16 else x).detach().cpu().numpy()  # NumPy has no bfloat16
    array = np.asarray(x)
    if array.ndim != 3 or array.shape[0] not in (1, 3) or 0 in array.shape:
        raise InputError(f"an image of shape {array.shape} given, (1 or 3, H, W) wanted")
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise InputError(f"an image of type {array.dtype} given, floats in [-1, 1] or uint8 wanted")
    if array.dtype != np.uint8 and not np.isfinite(array).all():
        raise InputError("an image with NaN or infinity given, finite numbers in [-1, 1] wanted")
    return array


def _alike(kinds: Sequence[Hashable], areas: Sequence[int], most: int) -> Iterator[list[int]]:
    """Indices of the same kind, at least one and as many together as have `most` pixels."""
    places: dict[Hashable, list[int]] = {}
    for index, kind in enumerate(kinds):
        places.setdefault(kind, []).append(index)
    for same in places.values():
        count = max(1, most // areas[same[0]])
        yield from (same[start : start + count] for start in range(0, len(same), count))
