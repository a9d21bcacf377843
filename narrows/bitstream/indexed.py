"""Entropy coding with tables chosen symbol by symbol (coder 2 of the format).

The codes are coded in stages: some codebooks, at some or all positions. For each stage the model names a table for
every code, from the codes of the stages before. A code of a codebook of V is coded as its distance from V/2, by a table
of 2c + 2 entries: -c .. c, and an escape for what is farther, whose code then follows in full. All symbols of a stage
that share a table are coded in one call, which is what makes the choice cheap.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.frequency_tables import FrequencyTables, quantize
from narrows.bitstream.rans import exact_model, packed, unpacked
from narrows.errors import DamagedStream, InputError

Place = tuple[slice, ...]
Choices = Generator[tuple[Place, NDArray[np.integer]], NDArray[np.integer], Any]
Choose = Callable[[tuple[int, int, int], int], Choices]


@dataclass(frozen=True)
class Prior:
    """Frequency tables with the model that chooses one per symbol, given the grid (C, H, W) and the quality index.

    It yields a place in the codes (C, K, H, W) and the index of each table there, and is sent the codes at that place.
    """

    tables: FrequencyTables
    choose: Choose


@dataclass(frozen=True)
class Piece:
    """Symbols that are coded with one table."""

    table: int
    symbols: NDArray[np.int32]


class IndexedCoder:
    """Codes (C, K, H, W) of one chunk to a payload and back."""

    def __init__(self, prior: Prior, codebooks: int, size: int, quality_index: int) -> None:
        self.prior, self.codebooks, self.size, self.quality_index = prior, codebooks, size, quality_index
        frequencies = prior.tables.frequencies
        self._reach = np.array([len(table) // 2 - 1 for table in frequencies])  # c of each table
        self._models = [exact_model(table) for table in frequencies]
        self._flat = _flat(size)

    def compress(self, codes: NDArray[np.integer]) -> bytes:
        """The payload of these codes."""
        coder = constriction.stream.stack.AnsCoder()
        for piece in reversed(list(self.pieces(codes))):
            coder.encode_reverse(piece.symbols, self._flat if piece.table < 0 else self._models[piece.table])
        return packed(coder)

    def pieces(self, codes: NDArray[np.integer]) -> Iterator[Piece]:
        """What is coded, in the order of decoding; the table -1 gives all codes of a stage that are escaped."""
        choices = self._choices(codes.shape)
        place, tables = next(choices)
        while True:
            part = codes[place]
            if part.shape != tables.shape:
                raise InputError(f"codes of shape {codes.shape} given, the model codes {tables.shape} next")
            order, counts = _grouped(tables, len(self._models))
            flat = part.reshape(-1)[order].astype(np.int32)
            reach = np.repeat(self._reach, counts).astype(np.int32)
            symbols = np.where(abs(flat - self.size // 2) <= reach, flat - self.size // 2 + reach, 2 * reach + 1)
            for table, start, stop in _spans(counts):
                yield Piece(table, symbols[start:stop].astype(np.int32))
            escaped = flat[symbols == 2 * reach + 1]
            if len(escaped):
                yield Piece(-1, escaped)
            try:
                place, tables = choices.send(part)
            except StopIteration:
                return

    def decompress(self, payload: bytes, shape: tuple[int, ...]) -> NDArray[np.int16]:
        """The codes (C, K, H, W) of a payload. Raises DamagedStream where no encoder can have written it."""
        return self.decompress_with(payload, shape)[0]

    def decompress_with(self, payload: bytes, shape: tuple[int, ...]) -> tuple[NDArray[np.int16], Any]:
        """The same, and what the model made of the codes on the way."""
        coder = unpacked(payload)
        codes = np.empty(shape, np.int16)
        choices = self._choices(shape)
        place, tables = next(choices)
        while True:
            order, counts = _grouped(tables, len(self._models))
            flat = np.empty(tables.size, np.int32)
            for table, start, stop in _spans(counts):
                flat[start:stop] = coder.decode(self._models[table], stop - start)
            reach = np.repeat(self._reach, counts).astype(np.int32)
            escaped = flat == 2 * reach + 1
            flat += self.size // 2 - reach
            if count := int(escaped.sum()):
                flat[escaped] = coder.decode(self._flat, count)
            sorted_back = np.empty(tables.size, np.int16)
            sorted_back[order] = flat
            part = sorted_back.reshape(tables.shape)
            codes[place] = part
            try:
                place, tables = choices.send(part)
            except StopIteration as end:
                if not coder.is_empty():
                    raise DamagedStream("a payload holds more than its symbols; the stream is damaged") from None
                return codes, end.value

    def _choices(self, shape: tuple[int, ...]) -> Choices:
        signals, _, height, width = shape
        return self.prior.choose((signals, height, width), self.quality_index)


@cache
def _flat(size: int) -> Any:
    """The model of equal frequencies, for escaped codes."""
    return exact_model(quantize(np.ones(size)))


def _grouped(tables: NDArray[np.integer], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order that puts equal tables side by side, stable within each, and how many codes each table has."""
    flat = tables.reshape(-1)
    return np.argsort(flat.astype(np.int16), kind="stable"), np.bincount(flat, minlength=count)


def _spans(counts: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Table, start and stop of each group that is not empty."""
    stops = counts.cumsum()
    for table in np.flatnonzero(counts).tolist():
        yield table, int(stops[table] - counts[table]), int(stops[table])
