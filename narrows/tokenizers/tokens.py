"""Tokens: what a tokenizer returns, with all that is needed to get the medium back."""

import math
from dataclasses import dataclass, replace
from math import log2
from typing import Any

import numpy as np
import torch
from torch import Tensor

from narrows.bitstream import (
    AudioExtent,
    Extent,
    Prior,
    Radices,
    Reader,
    StreamHeader,
    Tables,
    codebook_sizes,
    read,
    stream_sizes,
    write,
)
from narrows.bitstream.limits import MAX_BYTES_AT_ONCE, MAX_CHOSEN_SYMBOLS, MAX_SYMBOLS
from narrows.errors import InputError
from narrows.tokenizers.ids import Pattern, Vocabulary, flattened, unflattened

BAND = 64  # rows of positions that are quantized and coded together where a model chooses tables; z takes 4 at a time
CHUNK_SECONDS = 20  # of an .nrw chunk: the framing costs 5 bit/s, damage costs what is shorter than a sentence or two


@dataclass(frozen=True, eq=False)
class Tokens:
    """Codes (C, K, *grid) of one recording or picture: C signals, K codebooks, a grid (F,) or (H, W).

    radices: for each codebook the digits that its indices split into; their product is its size.
    extent: the medium's own size: rate, samples and channels, or height, width and channels. model, fingerprint: of the
    model, its name and 16 hexadecimal digits of the hash of its weights. setting: the quality, where it has several.
    """

    codes: Tensor
    radices: Radices
    extent: Extent
    model: str
    fingerprint: str
    setting: int | None = None

    def __post_init__(self) -> None:
        codes, axes = self.codes, self.extent.axes
        if codes.ndim != 2 + axes or codes.is_floating_point() or 0 in codes.shape:
            wanted = "integers (C, K, F)" if axes == 1 else "integers (C, K, H, W)"
            raise InputError(f"codes of shape {tuple(codes.shape)} and type {codes.dtype} given, {wanted} wanted")
        signals = self.extent.channels if isinstance(self.extent, AudioExtent) else 1
        if codes.shape[:2] != (signals, len(self.radices)):
            wanted = f"{signals} signals and {len(self.radices)} codebooks"
            raise InputError(f"codes of shape {tuple(codes.shape)} given for {wanted}")

    def __getitem__(self, index: Any) -> "Tokens":
        """`tokens[:, :k]` keeps the first k codebooks, `tokens[1:2]` one channel. Time cannot be cut."""
        channels, books = index if isinstance(index, tuple) and len(index) == 2 else (index, slice(None))
        if (
            not isinstance(channels, slice)
            or not isinstance(books, slice)
            or books.indices(len(self.radices))[::2] != (0, 1)
        ):
            raise InputError(
                f"tokens[{index}] given; write tokens[channels, :codebooks], two slices, codebooks from the first"
            )
        codes, extent = self.codes[channels, books], self.extent
        if isinstance(extent, AudioExtent):
            extent = replace(extent, channels=max(1, codes.shape[0]))
        return replace(self, codes=codes, radices=self.radices[books], extent=extent)

    def __eq__(self, other: object) -> bool:
        """Whether all codes and all that belongs to them are the same, wherever the codes are."""
        if not isinstance(other, Tokens):
            return NotImplemented
        ours, theirs = replace(self, codes=self.codes.cpu()), replace(other, codes=other.codes.cpu())
        facts = [(t.radices, t.extent, t.model, t.fingerprint, t.setting) for t in (ours, theirs)]
        return facts[0] == facts[1] and torch.equal(ours.codes, theirs.codes)

    def __hash__(self) -> int:
        return hash((self.radices, self.extent, self.model, self.fingerprint))

    def to(self, device: torch.device | str) -> "Tokens":
        """The same tokens with their codes on another device."""
        return replace(self, codes=self.codes.to(device))

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """V of each codebook."""
        return codebook_sizes(self.radices)

    @property
    def steps(self) -> int:
        """Positions along the first grid axis in one chunk of a stream."""
        shape = self.codes.shape
        row = shape[0] * len(stream_sizes(self.radices)) * math.prod(shape[3:])
        if self.setting is not None:
            return max(4, min(BAND, MAX_CHOSEN_SYMBOLS // row // 4 * 4))
        most = max(1, MAX_SYMBOLS // row)
        if not isinstance(self.extent, AudioExtent):
            return min(shape[2], most)
        return max(1, min(shape[2], most, round(shape[2] / self.extent.seconds * CHUNK_SECONDS)))

    @property
    def nominal_bits(self) -> float:
        """Bits of all codes when each takes log2 of its codebook's size."""
        return sum(map(log2, self.codebook_sizes)) * (self.codes.numel() // len(self.radices))

    def flatten(self, pattern: Pattern, vocabulary: Vocabulary | None = None) -> Tensor:
        """Ids for a language model, int64 (S,) or (K, S), as ids.py draws the patterns.

        vocabulary: of these codebooks unless given. Raises InputError for codes outside of their codebooks.
        """
        return flattened(self.codes, pattern, vocabulary or Vocabulary(self.codebook_sizes))

    def unflatten(self, ids: Tensor, pattern: Pattern, vocabulary: Vocabulary | None = None) -> "Tokens":
        """Tokens of the same extent, codebooks and model from ids as `flatten` gives them; its exact inverse.

        Raises InputError for ids that no such tokens give; it says where.
        """
        signals, books, *grid = self.codes.shape
        width = grid[1] if len(grid) == 2 else None
        known = vocabulary or Vocabulary(self.codebook_sizes)
        codes = unflattened(ids, pattern, known, books, signals, width)
        if codes.shape[2:] != self.codes.shape[2:]:
            raise InputError(f"ids of a grid {tuple(codes.shape[2:])} given, {tuple(grid)} wanted")
        return replace(self, codes=codes.to(self.codes.dtype))

    def compress(self, prior: Tables | Prior | None = None) -> bytes:
        """The tokens as an .nrw stream: entropy-coded with the tables of `prior`, or raw, in a fixed number of bits.

        Raises InputError for more codes than a reader takes at once.
        """
        most = MAX_BYTES_AT_ONCE // (8 if self.setting is None else 2)
        if self.codes.numel() > most:
            raise InputError(f"{self.codes.numel()} codes given, at most {most} wanted; cut the medium into parts")
        tables = prior.tables if isinstance(prior, Prior) else prior
        header = StreamHeader(
            model=self.model,
            fingerprint=bytes.fromhex(self.fingerprint),
            extent=self.extent,
            radices=self.radices,
            grid=tuple(self.codes.shape[2:]),
            steps=self.steps,
            signals=self.codes.shape[0],
            tables_digest=None if tables is None else tables.digest[:4],
            setting=self.setting,
        )
        return write(header, self.codes.cpu().numpy(), prior)

    @classmethod
    def decompress(cls, data: bytes, prior: Tables | Prior | None = None) -> "Tokens":
        """The tokens of an .nrw stream, whole. `prior`: the tables it was made with; raw streams need none.

        Raises StreamError, DamagedStream, NewerStream or WrongModel, InputError where tables are needed.
        """
        header = Reader(data, prior).header
        codes = torch.from_numpy(np.ascontiguousarray(read(data, prior)))
        fingerprint = header.fingerprint.hex()
        return cls(codes, header.radices, header.extent, header.model, fingerprint, header.setting)
