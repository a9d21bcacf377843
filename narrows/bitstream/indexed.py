"""Entropy coding with a table index per symbol (coder 2 of the format).

Codes are coded in stages. A stage consists of some codebooks at some or all positions. For each stage the entropy model
gives a table index for every code, conditioned on the codes of earlier stages. A code of a codebook with V codes is
coded as its difference from V/2, with a table of 2c + 2 symbols: the differences from -c to c, and an escape symbol for
larger differences. Codes with the escape symbol follow at the end of the stage, with V equal frequencies. All symbols
of a stage that share a table are coded in one call, so that one table per symbol stays fast.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.frequency_tables import FrequencyTables, integer_frequencies
from narrows.bitstream.rans import exact_model, pack_words, unpack_words
from narrows.errors import DamagedStream, InputError

Place = tuple[slice | int, ...]  # of some codes of a chunk
IndexGenerator = Generator[tuple[Place, NDArray[np.integer]], NDArray[np.integer], Any]
IndexModel = Callable[[tuple[int, ...], int], IndexGenerator]


@dataclass(frozen=True)
class IndexedTables:
    """Frequency tables with the entropy model that gives a table index per symbol.

    Args:
        tables: the frequency tables.
        choose: called with the size (G, *grid) of a chunk and the quality index. Returns a generator that yields slices
            of the codes (G, K, *grid) with the table index of each code in them, and is sent the codes of these slices.
            `IndexedCoder.decompress_with_output` passes on the value that the generator returns.
    """

    tables: FrequencyTables
    choose: IndexModel

    @property
    def digest(self) -> bytes:
        """The digest of the tables."""
        return self.tables.digest


@dataclass(frozen=True)
class TableSymbols:
    """Symbols that are coded with one table; `table` is -1 for escaped codes, which have equal frequencies."""

    table: int
    symbols: NDArray[np.int32]


class IndexedCoder:
    """Converts the codes (G, K, *grid) of one chunk to a payload and back.

    Args:
        tables: the tables, and the entropy model that indexes them.
        codebooks: number of codebooks K.
        size: number of codes V of each codebook.
        quality_index: quality index of the stream, for the entropy model.
    """

    def __init__(self, tables: IndexedTables, codebooks: int, size: int, quality_index: int) -> None:
        self.tables, self.codebooks, self.size, self.quality_index = tables, codebooks, size, quality_index
        frequencies = tables.tables.frequencies
        self._bounds = np.array([len(table) // 2 - 1 for table in frequencies])  # c of each table
        self._models = [exact_model(table) for table in frequencies]
        self._uniform = _uniform_model(size)

    def compress(self, codes: NDArray[np.integer]) -> bytes:
        """The payload of these codes."""
        coder = constriction.stream.stack.AnsCoder()
        for part in reversed(list(self.symbols_by_table(codes))):
            coder.encode_reverse(part.symbols, self._uniform if part.table < 0 else self._models[part.table])
        return pack_words(coder)

    def symbols_by_table(self, codes: NDArray[np.integer]) -> Iterator[TableSymbols]:
        """The symbols of a chunk in the order of decoding: stage by stage, table by table, then the escaped codes."""
        stages = self._stages(codes.shape)
        slices, indexes = next(stages)
        while True:
            part = codes[slices]
            if part.shape != indexes.shape:
                raise InputError(f"expected codes {indexes.shape} in the next stage, got {part.shape}")
            order, counts = _sort_by_table(indexes, len(self._models))
            flat = part.reshape(-1)[order].astype(np.int32)
            bounds = np.repeat(self._bounds, counts).astype(np.int32)
            symbols = np.where(abs(flat - self.size // 2) <= bounds, flat - self.size // 2 + bounds, 2 * bounds + 1)
            for table, start, stop in _spans(counts):
                yield TableSymbols(table, symbols[start:stop].astype(np.int32))
            escaped = flat[symbols == 2 * bounds + 1]
            if len(escaped):
                yield TableSymbols(-1, escaped)
            try:
                slices, indexes = stages.send(part)
            except StopIteration:
                return

    def decompress(self, payload: bytes, shape: tuple[int, ...]) -> NDArray[np.int16]:
        """The codes (G, K, *grid) of a payload. Raises DamagedStream for a payload that no encoder writes."""
        return self.decompress_with_output(payload, shape)[0]

    def decompress_with_output(self, payload: bytes, shape: tuple[int, ...]) -> tuple[NDArray[np.int16], Any]:
        """The codes of a payload, and the value that the generator of the entropy model returned."""
        coder = unpack_words(payload)
        codes = np.empty(shape, np.int16)
        stages = self._stages(shape)
        slices, indexes = next(stages)
        while True:
            order, counts = _sort_by_table(indexes, len(self._models))
            flat = np.empty(indexes.size, np.int32)
            for table, start, stop in _spans(counts):
                flat[start:stop] = coder.decode(self._models[table], stop - start)
            bounds = np.repeat(self._bounds, counts).astype(np.int32)
            escaped = flat == 2 * bounds + 1
            flat += self.size // 2 - bounds
            if count := int(escaped.sum()):
                flat[escaped] = coder.decode(self._uniform, count)
            inside = (flat >= 0) & (flat < self.size)
            if ((abs(flat - self.size // 2) > bounds) != escaped).any() or not inside.all():
                raise DamagedStream("expected codes as an encoder writes them, got others; the stream is damaged")
            unsorted = np.empty(indexes.size, np.int16)
            unsorted[order] = flat
            part = unsorted.reshape(indexes.shape)
            codes[slices] = part
            try:
                slices, indexes = stages.send(part)
            except StopIteration as end:
                if not coder.is_empty():
                    raise DamagedStream(
                        "expected a payload to end after its symbols, got more data; the stream is damaged"
                    ) from None
                return codes, end.value

    def _stages(self, shape: tuple[int, ...]) -> IndexGenerator:
        groups, _, *grid = shape
        return self.tables.choose((groups, *grid), self.quality_index)


@cache
def _uniform_model(size: int) -> Any:
    """The distribution of equal frequencies, for escaped codes."""
    return exact_model(integer_frequencies(np.ones(size)))


def _sort_by_table(indexes: NDArray[np.integer], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The permutation that sorts codes by table index (stable), and the number of codes of each of `count` tables."""
    flat = indexes.reshape(-1)
    return np.argsort(flat.astype(np.int16), kind="stable"), np.bincount(flat, minlength=count)


def _spans(counts: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """For each table in use: its index, and where its codes start and stop in the sorted order."""
    stops = counts.cumsum()
    for table in np.flatnonzero(counts).tolist():
        yield table, int(stops[table] - counts[table]), int(stops[table])
