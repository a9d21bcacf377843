"""Tokens and Latents: the results of encoding, with everything that decoding needs except the model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import log2
from typing import Any

import numpy as np
import torch
from torch import Tensor

from narrows.bitstream import (
    PredictedTables,
    Radices,
    Reader,
    StreamHeader,
    Tables,
    alphabet_sizes,
    codebook_sizes,
    read,
    write,
)
from narrows.bitstream.limits import MAX_BYTES_AT_ONCE, MAX_INDEXED_SYMBOLS, MAX_SYMBOLS
from narrows.codecs.base import INTEGERS
from narrows.errors import InputError, shortened
from narrows.media.buffers import Bytes
from narrows.media.extents import Extent
from narrows.tokenizers.ids import Ids, Pattern, Vocabulary, flatten_codes, unflatten_ids

BAND_ROWS = 64  # latent rows that an entropy model codes together; a multiple of 4, the hyperprior's downsampling
BAND_FRAMES = 16  # latent frames of video that an entropy model codes together
CHUNK_SECONDS = 20  # length of an .nrw chunk: headers cost 5 bit/s, and damage at most a sentence or two of speech


@dataclass(frozen=True, eq=False, repr=False)
class Tokens:
    """Codes (S, K, *grid) of one recording, image or clip.

    Args:
        codes: integers (S, K, *grid), S channel groups, K codebooks; the grid is (F,) for audio, (H, W) for images,
            (T, H, W) for video.
        radices: for each codebook, the radices of the digits of its codes; their product is the codebook size.
        extent: the size of the signal: rate, samples and channels of audio; height, width and channels of an image;
            frames and their rate, too, of video.
        model: name of the model.
        fingerprint: hash of the architecture and weights of the model, as 16 hexadecimal digits.
        quality_index: 0 to `qualities - 1` for an entropy model, otherwise None.
        attachments: bytes that the stream holds beside the codes, by name: "alpha", the alpha plane of an image,
            "audio", the sound of a video, "times", the times of its frames where their rate varies.

    Raises:
        InputError: for codes whose shape or type does not match the other arguments.
    """

    codes: Tensor
    radices: Radices
    extent: Extent
    model: str
    fingerprint: str
    quality_index: int | None = None
    attachments: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.radices, tuple):
            raise InputError(
                f"expected radices as tuples of the radices of each codebook, got {shortened(self.radices)}"
            )
        is_integer = isinstance(self.codes, Tensor) and self.codes.dtype in INTEGERS
        _check_shape("codes", self.codes, is_integer, "integers", len(self.radices), self.extent)

    def __repr__(self) -> str:
        attached = "".join(f", with {name} ({len(data)} bytes)" for name, data in self.attachments.items())
        quality = "" if self.quality_index is None else f", quality index {self.quality_index}"
        return f"Tokens({self.extent} by {plain(self.model)}, codes {tuple(self.codes.shape)}{quality}{attached})"

    def __getitem__(self, index: Any) -> "Tokens":
        """`tokens[:, :k]` keeps the first k codebooks, `tokens[1:2]` one channel group. The grid cannot be sliced."""
        groups, codebooks = index if isinstance(index, tuple) and len(index) == 2 else (index, slice(None))
        if (
            not isinstance(groups, slice)
            or not isinstance(codebooks, slice)
            or codebooks.indices(len(self.radices))[::2] != (0, 1)
        ):
            raise InputError(
                f"expected tokens[groups, :codebooks], two slices, the second from 0, got {shortened(index)}"
            )
        codes, extent = self.codes[groups, codebooks], self.extent
        size = -(-extent.channels // len(self.codes))  # channels of a group; the last group may have fewer
        indices = range(len(self.codes))[groups]
        channels = sum(max(1, min(size, extent.channels - group * size)) for group in indices)
        extent = replace(extent, channels=max(1, channels))
        return replace(self, codes=codes, radices=self.radices[codebooks], extent=extent)

    def __eq__(self, other: object) -> bool:
        """Whether codes and all other fields are equal; the devices of the codes may differ."""
        if not isinstance(other, Tokens):
            return NotImplemented
        ours, theirs = replace(self, codes=self.codes.cpu()), replace(other, codes=other.codes.cpu())
        metadata = [
            (t.radices, t.extent, t.model, t.fingerprint, t.quality_index, dict(t.attachments)) for t in (ours, theirs)
        ]
        return metadata[0] == metadata[1] and torch.equal(ours.codes, theirs.codes)

    def __hash__(self) -> int:
        return hash((self.radices, self.extent, self.model, self.fingerprint))

    def to(self, device: torch.device | str) -> "Tokens":
        """The same tokens with their codes on another device."""
        return replace(self, codes=self.codes.to(device))

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook, V."""
        return codebook_sizes(self.radices)

    @property
    def steps(self) -> int:
        """Positions along the first grid axis per chunk of an .nrw stream."""
        shape = self.codes.shape
        row = shape[0] * len(alphabet_sizes(self.radices)) * math.prod(shape[3:])
        if self.quality_index is not None:
            return band(self.extent.axes, row)
        limit = max(1, MAX_SYMBOLS // row)
        seconds = self.extent.seconds
        return min(shape[2], limit, max(1, round(shape[2] / seconds * CHUNK_SECONDS)) if seconds else shape[2])

    @property
    def nominal_bits(self) -> float:
        """Bits of all codes without entropy coding: log2 of its codebook size per code."""
        return sum(map(log2, self.codebook_sizes)) * (self.codes.numel() // len(self.radices))

    def flatten(self, pattern: Pattern, vocabulary: Vocabulary | None = None) -> Tensor:
        """Convert codes to ids for a language model, int64 (N,) or (K, N).

        Args:
            pattern: the order of the ids; see narrows/tokenizers/ids.py.
            vocabulary: the vocabulary of the ids; None for one with only these codebooks.

        Raises:
            InputError: for codes outside of their codebooks.
        """
        return flatten_codes(self.codes, pattern, vocabulary or Vocabulary(self.codebook_sizes))

    def unflatten(self, ids: Ids, pattern: Pattern, vocabulary: Vocabulary | None = None) -> "Tokens":
        """Convert ids to tokens with the extent, codebooks and model of these tokens; the inverse of `flatten`.

        Raises InputError for ids that `flatten` cannot return, with their position.
        """
        groups, codebooks, *grid = self.codes.shape
        vocabulary = vocabulary or Vocabulary(self.codebook_sizes)
        codes = unflatten_ids(ids, pattern, vocabulary, codebooks, groups, tuple(grid[1:]))
        if codes.shape[2:] != self.codes.shape[2:]:
            raise InputError(f"expected ids of a grid {tuple(grid)}, got {tuple(codes.shape[2:])}")
        return replace(self, codes=codes.to(self.codes.dtype))

    def compress(self, tables: Tables | None = None) -> bytes:
        """Write an .nrw stream: entropy-coded with `tables`, or raw with a fixed number of bits per code.

        Raises InputError for more codes than `decompress` accepts, except for video, whose streams are decoded chunk by
        chunk, and for codes outside of their codebooks.
        """
        max_codes = MAX_BYTES_AT_ONCE // (8 if self.quality_index is None else 2)
        if self.codes.numel() > max_codes and self.extent.axes != 3:
            raise InputError(f"expected at most {max_codes} codes, got {self.codes.numel()}; cut the signal into parts")
        return write(self.header(tables), self.codes.cpu().numpy(), tables, self.attachments)

    def header(self, tables: Tables | None = None) -> StreamHeader:
        """The header of the stream that `compress` writes, without its id and attachments."""
        return StreamHeader(
            model=self.model,
            fingerprint=_from_hex(self.fingerprint),
            extent=self.extent,
            radices=self.radices,
            grid=tuple(self.codes.shape[2:]),
            steps=self.steps,
            groups=self.codes.shape[0],
            tables_digest=None if tables is None else tables.digest[:4],
            quality_index=self.quality_index,
            predicted=isinstance(tables, PredictedTables),
        )

    @classmethod
    def decompress(cls, data: Bytes, tables: Tables | None = None) -> "Tokens":
        """Read the tokens of a whole .nrw stream.

        Args:
            data: the stream.
            tables: the tables that the stream was written with; raw streams need none.

        Raises:
            StreamError, DamagedStream, NewerStream, WrongModel: for a stream that cannot be read.
            InputError: if tables are needed and not given.
        """
        reader = Reader(data, tables)
        header, attachments = reader.header, reader.attachments()
        codes = torch.from_numpy(np.ascontiguousarray(read(data, tables)))
        fingerprint = header.fingerprint.hex()
        return cls(codes, header.radices, header.extent, header.model, fingerprint, header.quality_index, attachments)


@dataclass(frozen=True, eq=False, repr=False)
class Latents:
    """Continuous latents (S, D, *grid) of one recording, image or clip, for generative models such as diffusion.

    Args:
        values: floats (S, D, *grid), S channel groups, D channels of the bottleneck; the grid is (F,) for audio,
            (H, W) for images, (T, H, W) for video.
        extent, model, fingerprint, attachments: see Tokens.

    Raises:
        InputError: for values whose shape or type does not match the extent.
    """

    values: Tensor
    extent: Extent
    model: str
    fingerprint: str
    attachments: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        is_float = isinstance(self.values, Tensor) and self.values.is_floating_point()
        _check_shape("latents", self.values, is_float, "floats", None, self.extent)

    def __repr__(self) -> str:
        return f"Latents({self.extent} by {plain(self.model)}, values {tuple(self.values.shape)})"

    def to(self, device: torch.device | str) -> "Latents":
        """The same latents with their values on another device."""
        return replace(self, values=self.values.to(device))


def band(axes: int, row: int) -> int:
    """Positions along the first axis of the grid that an entropy model codes together, without those before them.

    Args:
        axes: of the grid: 2 for images, whose bands are rows, 3 for video, whose bands are latent frames.
        row: number of codes at one such position.
    """
    most = MAX_INDEXED_SYMBOLS // row
    return max(1, min(BAND_FRAMES, most)) if axes == 3 else max(4, min(BAND_ROWS, most // 4 * 4))


def plain(name: str) -> str:
    """A name for a message: without quotes, but escaped and shortened as `shortened` does."""
    return shortened(str(name))[1:-1]


def _from_hex(fingerprint: str) -> bytes:
    try:
        return bytes.fromhex(fingerprint)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected a fingerprint of hexadecimal digits, got {shortened(fingerprint)}") from error


def _check_shape(name: str, x: Tensor, right_type: bool, kind: str, second: int | None, extent: Extent) -> None:
    """Raise InputError unless x is (S, `second`, *grid), S from 1 to the channels of the extent."""
    if not isinstance(extent, Extent):
        raise InputError(f"expected the extent as an AudioExtent or ImageExtent, got {shortened(extent)}")
    fits = right_type and x.ndim == 2 + extent.axes and 0 not in x.shape
    if not fits or not 1 <= x.shape[0] <= extent.channels or second not in (None, x.shape[1]):
        grid = {1: "F", 2: "H, W", 3: "T, H, W"}[extent.axes]
        expected = f"{kind} (1 to {extent.channels}, {'D' if second is None else second}, {grid})"
        given = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise InputError(f"expected {name} as {expected} for {extent.medium}, got {given}")
