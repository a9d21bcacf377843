"""Frequency tables for entropy coding: integer frequencies that sum to 2^16 per table.

Tables are made once, after training, in float64. Only the integers are used afterwards: they are stored with the
checkpoint, and every stream holds their hash. So no floating-point number decides how a byte is decoded.
"""

import hashlib
import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from narrows.bitstream.limits import MAX_ALPHABET
from narrows.errors import InputError, shortened

PRECISION = 16
TOTAL = 1 << PRECISION
ESCAPED_BITS = 12  # bits of a code that follows an escape symbol


def integer_frequencies(weights: ArrayLike) -> NDArray[np.int32]:
    """Convert probabilities or counts (V,) to frequencies (V,): integers >= 1 that sum to 65536.

    f = max(1, floor(p·(2^16 - V) + 1/2)) in float64. While the sum is too small or too large, one frequency changes by
    one: the frequency for which the expected code length falls most, or grows least; among equals the lowest index.

    Args:
        weights: (V,), V from 1 to 4096: finite numbers that are not negative and not all zero.

    Raises:
        InputError: for other weights.
    """
    given = np.asarray(weights, np.float64)
    if given.ndim != 1 or not 1 <= given.size <= MAX_ALPHABET:
        raise InputError(f"expected weights (V,) with V from 1 to {MAX_ALPHABET}, got shape {given.shape}")
    if not np.isfinite(given).all() or given.min() < 0 or given.max() == 0:
        raise InputError("expected finite weights, none negative and one above 0; add smoothing to counts")
    scaled = given / given.max()  # so that the sum of very large weights does not overflow
    p = scaled / scaled.sum()
    frequencies: NDArray[np.int32] = np.maximum(1, np.floor(p * (TOTAL - p.size) + 0.5)).astype(np.int32)

    missing = TOTAL - int(frequencies.sum())
    step = 1 if missing > 0 else -1

    def change(index: int) -> float:
        """Bits per symbol by which the expected code length grows if this frequency changes by one more step."""
        now = int(frequencies[index])
        return -float(p[index]) * math.log2((now + step) / now) if now + step > 0 else math.inf

    heap = [(change(index), index) for index in range(p.size)]
    heapq.heapify(heap)
    for _ in range(abs(missing)):
        index = heap[0][1]
        frequencies[index] += step
        heapq.heapreplace(heap, (change(index), index))
    return frequencies


@dataclass(frozen=True, eq=False)
class FrequencyTables:
    """Frequency tables: one per symbol stream, in the order of `alphabet_sizes`, or tables that are chosen by an index.

    Two objects are equal if all their integers are equal.

    Args:
        frequencies: for each table, int32 (V,) of at least 1 with the sum 65536. An alphabet of one symbol has the
            frequency 65536, which does not fit 16 bits.

    Raises:
        InputError: for other tables; the message names the table.
    """

    frequencies: tuple[NDArray[np.int32], ...]

    def __repr__(self) -> str:
        sizes = sorted({table.size for table in self.frequencies})
        return f"FrequencyTables({len(self.frequencies)} tables of {sizes[0]} to {sizes[-1]} symbols)"

    def __post_init__(self) -> None:
        if not self.frequencies:
            raise InputError("expected one table or more, got none")
        kept = []
        for index, table in enumerate(self.frequencies):
            if table.dtype.kind not in "iu" or table.ndim != 1 or not 1 <= table.size <= MAX_ALPHABET:
                given = f"{table.dtype} of shape {table.shape}"
                raise InputError(f"expected table {index} as integers (V,), V from 1 to {MAX_ALPHABET}, got {given}")
            if table.min() < 1:
                raise InputError(
                    f"expected frequencies of at least 1 in table {index}, got {table.min()}; use integer_frequencies()"
                )
            if sum(table.tolist()) != TOTAL:
                total = sum(table.tolist())
                raise InputError(f"expected table {index} with the sum {TOTAL}, got {total}; use integer_frequencies()")
            copy = table.astype(np.int32)
            copy.setflags(write=False)
            kept.append(copy)
        object.__setattr__(self, "frequencies", tuple(kept))

    @classmethod
    def fit(
        cls, symbols: Sequence[NDArray[np.integer]], sizes: Sequence[int], smoothing: float = 0.5
    ) -> "FrequencyTables":
        """Make tables from the relative frequencies of symbols.

        Args:
            symbols: for each table, an array of any shape with values from 0 to size - 1.
            sizes: alphabet size of each table.
            smoothing: number that is added to every count, see `from_counts`.

        Raises:
            InputError: for a symbol outside its alphabet.
        """
        if len(symbols) != len(sizes):
            raise InputError(
                f"expected one alphabet size per symbol stream, got {len(symbols)} streams and {len(sizes)} sizes"
            )
        counts = []
        for index, (stream, size) in enumerate(zip(symbols, sizes, strict=True)):
            if stream.size and not 0 <= stream.min() <= stream.max() < size:
                raise InputError(
                    f"expected symbols from 0 to {size - 1} in stream {index}, got {stream.min()} to {stream.max()}"
                )
            counts.append(np.bincount(stream.reshape(-1), minlength=size))
        return cls.from_counts(counts, smoothing)

    @classmethod
    def from_counts(cls, counts: Sequence[NDArray[np.integer]], smoothing: float = 0.5) -> Self:
        """Make tables of relative frequencies from counts.

        Args:
            counts: for each table, the count of each symbol (V,); counts that are all zero give a uniform table.
            smoothing: number that is added to every count; 1/2 is the Krichevsky-Trofimov estimate.

        Raises:
            InputError: for a smoothing that is not positive and finite.
        """
        if not 0 < smoothing < math.inf:
            raise InputError(
                f"expected a finite smoothing above 0, got {smoothing}; else unseen symbols could not be coded"
            )
        return cls(tuple(integer_frequencies(np.asarray(count, np.float64) + smoothing) for count in counts))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.integer]]) -> Self:
        """Make tables from the arrays of `to_arrays`. Raises InputError for other arrays."""
        for name in ("sizes", "frequencies"):
            if name not in arrays:
                raise InputError(
                    f"expected {name!r} in the stored tables, got {shortened(sorted(arrays))}; fit and save them again"
                )
            if arrays[name].dtype != np.int32 or arrays[name].ndim != 1:
                given = f"{arrays[name].dtype} of shape {arrays[name].shape}"
                raise InputError(f"expected {name!r} of the stored tables as int32 with one axis, got {given}")
        sizes = arrays["sizes"].tolist()
        frequencies = arrays["frequencies"]
        if min(sizes, default=0) < 1 or sum(sizes) != frequencies.size:
            raise InputError(
                f"expected sizes that sum to {frequencies.size} in the stored tables, got the sum {sum(sizes)}"
            )
        return cls(tuple(np.split(frequencies, np.cumsum(sizes)[:-1])))

    def to_arrays(self) -> dict[str, NDArray[np.int32]]:
        """`sizes` (tables,) and `frequencies` (sum of sizes,), both int32, for a safetensors file."""
        return {"sizes": np.array(self.sizes, np.int32), "frequencies": np.concatenate(self.frequencies)}

    @property
    def sizes(self) -> tuple[int, ...]:
        """The alphabet size of each table."""
        return tuple(table.size for table in self.frequencies)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 (32 bytes) of all tables; the header of a stream holds its first 4 bytes.

        The hash is over 32-bit little-endian words: the number of tables, then size and frequencies of each table.
        """
        words = [len(self.frequencies)]
        for table in self.frequencies:
            words += [table.size, *table.tolist()]
        return hashlib.sha256(np.array(words, "<u4").tobytes()).digest()

    @property
    def entropies(self) -> tuple[float, ...]:
        """Entropy of each table in bits per symbol."""
        return tuple(float((t / TOTAL * (PRECISION - np.log2(t))).sum()) for t in self.frequencies)

    @cached_property
    def bit_costs(self) -> NDArray[np.float32]:
        """Bits (tables, r + 1) of a value by its distance 0 .. r from the centre, for tables of -c .. c and an escape.

        They are means over both signs. A distance above c costs the bits of the escape symbol and of a code of 12 bits.
        """
        bit_costs = np.empty((len(self.frequencies), max(self.sizes) // 2), np.float32)
        for row, table in zip(bit_costs, self.frequencies, strict=True):
            bits, c = PRECISION - np.log2(table), len(table) // 2 - 1
            row[: c + 1] = (bits[c : 2 * c + 1] + bits[c::-1]) / 2
            row[c + 1 :] = bits[-1] + ESCAPED_BITS
        return bit_costs

    def estimated_bits(self, symbols: Sequence[NDArray[np.integer]]) -> float:
        """The cross-entropy of symbol streams under the tables, in bits.

        Args:
            symbols: streams of the first tables, as `codes_to_symbols` gives them.

        Raises:
            InputError: for a symbol outside its alphabet, or more streams than tables.
        """
        if len(symbols) > len(self.frequencies):
            raise InputError(f"expected at most {len(self.frequencies)} symbol streams, got {len(symbols)}")
        bits = 0.0
        for index, (stream, table) in enumerate(zip(symbols, self.frequencies, strict=False)):
            if stream.size and not 0 <= stream.min() <= stream.max() < table.size:
                got = f"{stream.min()} to {stream.max()}"
                raise InputError(f"expected symbols from 0 to {table.size - 1} in stream {index}, got {got}")
            bits += float((PRECISION - np.log2(table))[stream.reshape(-1)].sum())
        return bits

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrequencyTables) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)
