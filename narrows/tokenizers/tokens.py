"""Tokens: what a tokenizer returns, with all that is needed to get the medium back."""

from dataclasses import dataclass, replace
from math import log2
from typing import Any

import numpy as np
import torch
from torch import Tensor

from narrows.bitstream import (
    AudioExtent,
    Radices,
    Reader,
    StreamHeader,
    Tables,
    codebook_sizes,
    read,
    stream_sizes,
    write,
)
from narrows.bitstream.limits import MAX_CODES_AT_ONCE, MAX_SYMBOLS
from narrows.errors import InputError

CHUNK_SECONDS = 20  # of an .nrw chunk: the framing costs 5 bit/s, damage costs what is shorter than a sentence or two


@dataclass(frozen=True, eq=False)
class Tokens:
    """Codes (C, K, F) int64 of one recording: C channels, K codebooks, F frames.

    radices: for each codebook the digits that its indices split into; their product is its size.
    extent: the recording's own rate, samples and channels. model, fingerprint: name of the model, 16 hexadecimal digits
    of the hash of its weights.
    """

    codes: Tensor
    radices: Radices
    extent: AudioExtent
    model: str
    fingerprint: str

    def __post_init__(self) -> None:
        codes = self.codes
        if codes.ndim != 3 or codes.is_floating_point() or 0 in codes.shape:
            raise InputError(
                f"codes of shape {tuple(codes.shape)} and type {codes.dtype} given, integers (C, K, F) wanted"
            )
        if codes.shape[:2] != (self.extent.channels, len(self.radices)):
            wanted = f"{self.extent.channels} channels and {len(self.radices)} codebooks"
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
        codes = self.codes[channels, books]
        extent = replace(self.extent, channels=max(1, codes.shape[0]))
        return replace(self, codes=codes, radices=self.radices[books], extent=extent)

    def __eq__(self, other: object) -> bool:
        """Whether all codes and all that belongs to them are the same, wherever the codes are."""
        if not isinstance(other, Tokens):
            return NotImplemented
        ours, theirs = replace(self, codes=self.codes.cpu()), replace(other, codes=other.codes.cpu())
        facts = [(t.radices, t.extent, t.model, t.fingerprint) for t in (ours, theirs)]
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
    def nominal_bits(self) -> float:
        """Bits of all codes when each takes log2 of its codebook's size."""
        return sum(map(log2, self.codebook_sizes)) * self.codes.shape[0] * self.codes.shape[2]

    def compress(self, tables: Tables | None = None) -> bytes:
        """The tokens as an .nrw stream: entropy-coded with `tables`, or raw, each code in a fixed number of bits.

        Raises InputError for more codes than a reader takes at once.
        """
        if self.codes.numel() > MAX_CODES_AT_ONCE:
            raise InputError(f"{self.codes.numel()} codes given, at most {MAX_CODES_AT_ONCE} wanted; cut the recording")
        frames, seconds = self.codes.shape[2], self.extent.samples / self.extent.sample_rate
        steps = min(frames, round(frames / seconds * CHUNK_SECONDS))
        largest = MAX_SYMBOLS // (self.codes.shape[0] * len(stream_sizes(self.radices)))
        header = StreamHeader(
            model=self.model,
            fingerprint=bytes.fromhex(self.fingerprint),
            extent=self.extent,
            radices=self.radices,
            grid=(frames,),
            steps=max(1, min(steps, largest)),
            signals=self.codes.shape[0],
            tables_digest=None if tables is None else tables.digest[:4],
        )
        return write(header, self.codes.cpu().numpy(), tables)

    @classmethod
    def decompress(cls, data: bytes, tables: Tables | None = None) -> "Tokens":
        """The tokens of an .nrw stream of audio, whole. `tables`: those it was made with; raw streams need none.

        Raises StreamError, DamagedStream, NewerStream or WrongModel, InputError where tables are needed.
        """
        header = Reader(data, tables).header
        if not isinstance(header.extent, AudioExtent):
            raise InputError(f"a stream of {header.extent.medium} given, one of audio wanted")
        codes = torch.from_numpy(np.ascontiguousarray(read(data, tables)))
        return cls(codes, header.radices, header.extent, header.model, header.fingerprint.hex())
