"""Static frequency tables: for each symbol stream one table of integer frequencies that sum to 2^16.

Tables are made once, after training, in float64. From then on only the integers count: they are stored with the
checkpoint and hashed into every file, so no float decides how a byte is read.
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
from narrows.errors import InputError

PRECISION = 16
TOTAL = 1 << PRECISION
ESCAPED_BITS = 12  # of a code that no symbol stands for


def quantize(weights: ArrayLike) -> NDArray[np.int32]:
    """Probabilities or counts (V,) to frequencies (V,): integers >= 1 that sum to 65536.

    f = max(1, floor(p·(2^16 - V) + 1/2)) in float64; what is then missing or too much goes one by one to where it
    shortens the code most, or lengthens it least, the lowest index first among equals.
    Raises InputError for weights that are negative, not finite or all zero, and for V outside 1 .. 4096.
    """
    given = np.asarray(weights, np.float64)
    if given.ndim != 1 or not 1 <= given.size <= MAX_ALPHABET:
        raise InputError(f"weights are of shape {given.shape}, want (V,) with V from 1 to {MAX_ALPHABET}")
    if not np.isfinite(given).all() or given.min() < 0 or given.max() == 0:
        raise InputError("weights must be finite, none negative and one above 0; add smoothing to counts")
    scaled = given / given.max()  # first, so that the sum of huge weights does not overflow
    p = scaled / scaled.sum()
    frequencies: NDArray[np.int32] = np.maximum(1, np.floor(p * (TOTAL - p.size) + 0.5)).astype(np.int32)

    missing = TOTAL - int(frequencies.sum())
    step = 1 if missing > 0 else -1

    def change(index: int) -> float:
        """Bits per symbol that the code grows by when this frequency takes one more step."""
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
    """One frequency array for each symbol stream, in the order of `stream_sizes`; two are equal if all integers are.

    Each is int32 (V,), every entry >= 1, the sum 65536 (an alphabet of one symbol has the frequency 65536, which is
    why 16 bits would not do). Raises InputError that says which table is wrong and how.
    """

    frequencies: tuple[NDArray[np.int32], ...]

    def __post_init__(self) -> None:
        if not self.frequencies:
            raise InputError("no tables were given, want one for each symbol stream")
        kept = []
        for index, table in enumerate(self.frequencies):
            if table.dtype.kind not in "iu" or table.ndim != 1 or not 1 <= table.size <= MAX_ALPHABET:
                given = f"{table.dtype} of shape {table.shape}"
                raise InputError(f"table {index} is {given}, want integers of shape (V,), V from 1 to {MAX_ALPHABET}")
            if table.min() < 1:
                raise InputError(f"table {index} holds the frequency {table.min()}, want at least 1; use quantize()")
            if sum(table.tolist()) != TOTAL:
                raise InputError(f"table {index} sums to {sum(table.tolist())}, want {TOTAL}; use quantize()")
            copy = table.astype(np.int32)
            copy.setflags(write=False)
            kept.append(copy)
        object.__setattr__(self, "frequencies", tuple(kept))

    @classmethod
    def fit(
        cls, symbols: Sequence[NDArray[np.integer]], sizes: Sequence[int], smoothing: float = 0.5
    ) -> "FrequencyTables":
        """FrequencyTables for the symbols of each stream (any shape, values in 0 .. size-1); see `from_counts`.

        Raises InputError for a symbol outside its alphabet.
        """
        if len(symbols) != len(sizes):
            raise InputError(f"{len(symbols)} streams and {len(sizes)} alphabet sizes were given, want one for each")
        counts = []
        for index, (stream, size) in enumerate(zip(symbols, sizes, strict=True)):
            if stream.size and not 0 <= stream.min() <= stream.max() < size:
                raise InputError(f"stream {index} holds {stream.min()} to {stream.max()}, want 0 to {size - 1}")
            counts.append(np.bincount(stream.reshape(-1), minlength=size))
        return cls.from_counts(counts, smoothing)

    @classmethod
    def from_counts(cls, counts: Sequence[NDArray[np.integer]], smoothing: float = 0.5) -> Self:
        """Tables for the counts of each symbol of each stream, (V,) each; `smoothing` is added to every count.

        1/2 is the Krichevsky-Trofimov estimate. A stream with no counts gets a uniform table.
        """
        if not 0 < smoothing < math.inf:
            raise InputError(f"smoothing is {smoothing}, want more than 0, so that unseen symbols can be coded")
        return cls(tuple(quantize(np.asarray(count, np.float64) + smoothing) for count in counts))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.integer]]) -> Self:
        """The tables that `to_arrays` gave. Raises InputError that says what is wrong with the arrays."""
        for name in ("sizes", "frequencies"):
            if name not in arrays:
                raise InputError(f"the stored tables have no {name!r}, only {sorted(arrays)}; fit and save them again")
            if arrays[name].dtype != np.int32 or arrays[name].ndim != 1:
                given = f"{arrays[name].dtype} of shape {arrays[name].shape}"
                raise InputError(f"{name!r} of the stored tables is {given}, want int32 with one axis")
        sizes = arrays["sizes"].tolist()
        frequencies = arrays["frequencies"]
        if min(sizes, default=0) < 1 or sum(sizes) != frequencies.size:
            raise InputError(f"the stored tables have {frequencies.size} frequencies, their sizes sum to {sum(sizes)}")
        return cls(tuple(np.split(frequencies, np.cumsum(sizes)[:-1])))

    def to_arrays(self) -> dict[str, NDArray[np.int32]]:
        """`sizes` (streams,) and `frequencies` (sum of sizes,), both int32, for a safetensors file."""
        return {"sizes": np.array(self.sizes, np.int32), "frequencies": np.concatenate(self.frequencies)}

    @property
    def sizes(self) -> tuple[int, ...]:
        """The alphabet of each stream."""
        return tuple(table.size for table in self.frequencies)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 (32 bytes) of all integers; a stream's header holds the first 4 bytes of it.

        Hashed as 32-bit little-endian words: the number of tables, then for each its size and its frequencies.
        """
        words = [len(self.frequencies)]
        for table in self.frequencies:
            words += [table.size, *table.tolist()]
        return hashlib.sha256(np.array(words, "<u4").tobytes()).digest()

    @property
    def entropies(self) -> tuple[float, ...]:
        """Bits a symbol of each stream, where symbols are as frequent as the tables say."""
        return tuple(float((t / TOTAL * (PRECISION - np.log2(t))).sum()) for t in self.frequencies)

    @cached_property
    def bit_costs(self) -> NDArray[np.float32]:
        """Bits (tables, r + 1) of symbols 0 .. r away from the middle, for tables of -c .. c and an escape.

        Beyond c: of the escape and a code of 12 bits. The mean of both sides.
        """
        bit_costs = np.empty((len(self.frequencies), max(self.sizes) // 2), np.float32)
        for row, table in zip(bit_costs, self.frequencies, strict=True):
            bits, c = PRECISION - np.log2(table), len(table) // 2 - 1
            row[: c + 1] = (bits[c : 2 * c + 1] + bits[c::-1]) / 2
            row[c + 1 :] = bits[-1] + ESCAPED_BITS
        return bit_costs

    def estimated_bits(self, symbols: Sequence[NDArray[np.integer]]) -> float:
        """The cross-entropy of symbol streams under the tables, in bits: what an ideal coder would spend.

        Takes the streams of the first tables (as `split` gives them). Raises InputError for a symbol with no frequency.
        """
        if len(symbols) > len(self.frequencies):
            raise InputError(f"{len(symbols)} streams were given, there are tables for {len(self.frequencies)}")
        bits = 0.0
        for index, (stream, table) in enumerate(zip(symbols, self.frequencies, strict=False)):
            if stream.size and not 0 <= stream.min() <= stream.max() < table.size:
                raise InputError(f"stream {index} holds {stream.min()} to {stream.max()}, want 0 to {table.size - 1}")
            bits += float((PRECISION - np.log2(table))[stream.reshape(-1)].sum())
        return bits

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrequencyTables) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)
