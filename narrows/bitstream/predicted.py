"""Frequencies that a small integer network predicts from codes that are already decoded (coder 3 of the format).

    chunk   ─▶ codebook 0: frames 0, 8, 16 ...; 4, 12 ...; 2, 6 ...; 1, 3 ...
               codebook 1: the same four stages
               ...

A code is split into digits. For each code the network of its codebook gives a frequency table for each digit. It sees
the codes of the lower codebooks in the frames -2 to 2 around it, and after the first stage four codes of its own
codebook in frames of earlier stages. So the codes of one stage are computed together, and the first codebooks of a
stream can be decoded without the others.

All numbers are integers. float64 holds them, and its sums and products are exact here: they stay below 2^53.
"""

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import constriction
import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.frequency_tables import PRECISION, TOTAL
from narrows.bitstream.limits import MAX_ALPHABET, MAX_CODEBOOKS, MAX_DIGITS
from narrows.bitstream.rans import pack_words, unpack_words
from narrows.errors import DamagedStream, InputError, shortened

PERIOD = 8  # frames after which the stages repeat
STAGES = ((0, 8, ()), (4, 8, (-12, -4, 4, 12)), (2, 4, (-6, -2, 2, 6)), (1, 2, (-3, -1, 1, 3)))
# of each stage: its first frame, the distance of its frames, the offsets of the codes of its own codebook that it sees
LOWER = (-2, -1, 0, 1, 2)  # offsets of the frames of lower codebooks
OWN = 4  # codes of its own codebook that a stage sees, except the first
MARGIN = 12  # frames around a chunk, which hold no codes
ACTIVATION_BITS = 12  # an activation is from 0 to 2^12 - 1
INPUT_SHIFT, HIDDEN_SHIFT, OUTPUT_SHIFT = 9, 12, 14  # bits by which sums are shifted right
MAX_SHIFT = 12  # a weight is an int8 times up to 2^12
MAX_WIDTH = 1024  # channels of a layer
MAX_DIM = 64  # channels of an embedded code
BLOCK = 2**22  # numbers of 8 bytes, about, that are in memory for the codes whose frequencies are computed together
FRACTION = 64  # logits are in 1/64 bit
MAX_BITS = 24  # of an unnormalised probability
CODE_BITS = 256  # the mean length of a code is stored in 1/256 bit
POWERS = np.array([round(2 ** (MAX_BITS - j / FRACTION)) for j in range(FRACTION)], np.int64)  # 2^(24 - j/64)

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CodebookNetwork:
    """The network of one codebook: integers, in the units of docs/stream.md.

    Args:
        embeddings: (sum of the alphabets, E) int8, a row for each value of each digit; a code is the sum of its rows.
        own: (3, H, 4 E) int8, weights of codes of the same codebook, for each stage but the first.
        lower: (H, 5 E k) int8, weights of the codes of the k lower codebooks, codebook by codebook.
        input_shifts: (H,) int8, each weight of the first layer is shifted left by that of its row.
        input_bias: (4 stages, H) int32.
        hidden, hidden_shifts, hidden_bias: (H, H), (H,), (H,), the second layer.
        output, output_shifts, output_bias: (sum of the alphabets, H), ...: the logits.
    """

    embeddings: NDArray[np.int8]
    own: NDArray[np.int8]
    lower: NDArray[np.int8]
    input_shifts: NDArray[np.int8]
    input_bias: NDArray[np.int32]
    hidden: NDArray[np.int8]
    hidden_shifts: NDArray[np.int8]
    hidden_bias: NDArray[np.int32]
    output: NDArray[np.int8]
    output_shifts: NDArray[np.int8]
    output_bias: NDArray[np.int32]

    def check(self, alphabets: Sequence[int], codebook: int, width: int, dim: int) -> None:
        """Raise InputError unless all arrays have the types, shapes and ranges that these sizes ask for."""
        symbols, stages = sum(alphabets), len(STAGES)
        shapes = {
            "embeddings": (symbols, dim),
            "own": (stages - 1, width, OWN * dim),
            "lower": (width, len(LOWER) * dim * codebook),
            "input_shifts": (width,),
            "input_bias": (stages, width),
            "hidden": (width, width),
            "hidden_shifts": (width,),
            "hidden_bias": (width,),
            "output": (symbols, width),
            "output_shifts": (symbols,),
            "output_bias": (symbols,),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            dtype = np.dtype(np.int32 if name.endswith("bias") else np.int8)
            if array.dtype != dtype or array.shape != shape:
                raise InputError(
                    f"expected {name} of codebook {codebook} as {dtype} {shape}, got {array.dtype} {array.shape}"
                )
            if name.endswith("shifts") and not 0 <= array.min() <= array.max() <= MAX_SHIFT:
                raise InputError(f"expected {name} from 0 to {MAX_SHIFT}, got {array.min()} to {array.max()}")

    @cached_property
    def exact(self) -> "tuple[Array, Array, Array, Array, Array]":
        """The weights, shifted, as float64: embeddings, own (3, 4 E, H), lower (5 E k, H), hidden, output."""
        return (
            self.embeddings.astype(np.float64),
            _transposed(self.own, self.input_shifts),
            _transposed(self.lower, self.input_shifts),
            _transposed(self.hidden, self.hidden_shifts),
            _transposed(self.output, self.output_shifts),
        )

    def activations(self, stage: int, own: Array, lower: Array) -> NDArray[np.int16]:
        """The input (n, H) of the output layer, for the embedded codes own (n, 4 E) and lower (n, 5 E k).

        `own` is not used in the first stage.
        """
        _, own_weights, lower_weights, hidden, _ = self.exact
        x = lower @ lower_weights + self.input_bias[stage]
        if stage:
            x += own @ own_weights[stage - 1]
        x = _activated(x, INPUT_SHIFT) @ hidden + self.hidden_bias
        return _activated(x, HIDDEN_SHIFT).astype(np.int16)

    def logits(self, activations: NDArray[np.int16], rows: slice) -> NDArray[np.int64]:
        """Logits (n, rows) in 1/64 bit, for these rows of the output layer."""
        x = activations.astype(np.float64) @ self.exact[-1][:, rows] + self.output_bias[rows]
        return np.floor(x * 0.5**OUTPUT_SHIFT).astype(np.int64)


def _transposed(weights: NDArray[np.int8], shifts: NDArray[np.int8]) -> Array:
    """Weights (..., rows, columns), each row shifted left, as (..., columns, rows)."""
    shifted: Array = weights.astype(np.float64) * np.exp2(shifts.astype(np.float64))[:, None]
    return np.ascontiguousarray(shifted.swapaxes(-1, -2))


def _activated(x: Array, shift: int) -> Array:
    return np.clip(np.floor(x * 0.5**shift), 0, 2**ACTIVATION_BITS - 1)


def frequencies_of(logits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frequencies (n, V) of logits (n, V) in 1/64 bit: at least 1 each; every row sums to 2^16."""
    below = logits.max(1, keepdims=True) - logits
    weights = POWERS[below % FRACTION] >> np.minimum(below // FRACTION, MAX_BITS + 1)
    count = logits.shape[1]
    frequencies = 1 + weights * (TOTAL - count) // weights.sum(1, keepdims=True)
    rows = np.arange(len(logits))
    frequencies[rows, logits.argmax(1)] += TOTAL - frequencies.sum(1)  # the first of the largest
    return frequencies


@dataclass(frozen=True, eq=False)
class PredictedTables:
    """The networks of all codebooks, which give a frequency table for each digit of each code.

    Two objects are equal if all their integers are equal.

    Args:
        digits: alphabet sizes of the digits of each codebook, the least significant digit first.
        networks: the network of each codebook.
        lengths: (K,) int32, mean length of a code of each codebook in 1/256 bit, measured when they were fitted.

    Raises:
        InputError: for arrays of other types, shapes and ranges.
    """

    digits: tuple[tuple[int, ...], ...]
    networks: tuple[CodebookNetwork, ...]
    lengths: NDArray[np.int32]

    def __post_init__(self) -> None:
        count = len(self.networks)
        if not 1 <= count <= MAX_CODEBOOKS or len(self.digits) != count or self.lengths.shape != (count,):
            raise InputError(
                f"expected digits, networks and lengths of 1 to {MAX_CODEBOOKS} codebooks, got {len(self.digits)}, "
                f"{count}, {self.lengths.shape}"
            )
        if self.lengths.dtype != np.int32 or self.lengths.min() < 0:
            raise InputError(f"expected lengths of codes as int32 of at least 0, got {self.lengths.dtype}")
        for digits in self.digits:
            if not 1 <= len(digits) <= MAX_DIGITS or not all(1 <= size <= MAX_ALPHABET for size in digits):
                raise InputError(f"expected 1 to {MAX_DIGITS} digits of up to {MAX_ALPHABET}, got {shortened(digits)}")
        width, dim = self.networks[0].hidden_bias.size, self.dim
        if not (1 <= width <= MAX_WIDTH and 1 <= dim <= MAX_DIM):
            raise InputError(
                f"expected layers of 1 to {MAX_WIDTH} channels and codes of 1 to {MAX_DIM}, got {width} and {dim}"
            )
        for codebook, (digits, network) in enumerate(zip(self.digits, self.networks, strict=True)):
            network.check(digits, codebook, width, dim)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.integer]]) -> Self:
        """Make tables from the arrays of `to_arrays`. Raises InputError for other arrays."""
        fields = CodebookNetwork.__dataclass_fields__
        try:
            for name in ("digits", "alphabets"):
                if arrays[name].dtype != np.int32 or arrays[name].ndim != 1:
                    given = f"{arrays[name].dtype} of shape {arrays[name].shape}"
                    raise InputError(f"expected {name!r} of the stored tables as int32 with one axis, got {given}")
            counts, sizes = arrays["digits"].tolist(), iter(arrays["alphabets"].tolist())
            if min(counts, default=0) < 1 or sum(counts) != arrays["alphabets"].size:
                raise InputError("expected the number of digits of each codebook and their alphabets, got others")
            digits = tuple(tuple(itertools.islice(sizes, count)) for count in counts)
            networks = [CodebookNetwork(**{f: arrays[f"{f}.{k}"] for f in fields}) for k in range(len(digits))]  # type: ignore[arg-type]
            lengths = arrays["lengths"]
        except KeyError as error:
            raise InputError(f"expected {error} in the stored tables, got none; fit and save them again") from error
        if len(arrays) != 3 + len(fields) * len(digits):
            raise InputError(f"expected {3 + len(fields) * len(digits)} arrays, got {len(arrays)}")
        return cls(digits, tuple(networks), lengths)  # type: ignore[arg-type]

    def to_arrays(self) -> dict[str, NDArray[np.integer]]:
        """All integers by name, for a safetensors file."""
        arrays: dict[str, NDArray[np.integer]] = {
            "digits": np.array([len(digits) for digits in self.digits], np.int32),
            "alphabets": np.array([size for digits in self.digits for size in digits], np.int32),
            "lengths": self.lengths,
        }
        for codebook, network in enumerate(self.networks):
            arrays |= {f"{name}.{codebook}": getattr(network, name) for name in network.__dataclass_fields__}
        return arrays

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 (32 bytes) of all integers but the lengths; the header of a stream holds its first 4 bytes.

        The hash is over the bytes of `to_arrays` in its order, little-endian.
        """
        arrays = [array for name, array in self.to_arrays().items() if name != "lengths"]
        return hashlib.sha256(
            b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays)
        ).digest()

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes V of each codebook."""
        return tuple(map(math.prod, self.digits))

    @property
    def dim(self) -> int:
        """E, the channels of an embedded code."""
        return self.networks[0].embeddings.size // sum(self.digits[0])

    @property
    def code_bits(self) -> tuple[float, ...]:
        """Mean bits of a code of each codebook."""
        return tuple((self.lengths / CODE_BITS).tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PredictedTables) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


class _Stage(NamedTuple):
    """Codes whose frequencies are computed together: those of a codebook in some frames, of all groups."""

    codebook: int
    number: int
    frames: NDArray[np.int64]


class _Part(NamedTuple):
    """Symbols that are coded together: one digit of some codes of a stage."""

    digit: int
    codes: slice
    rows: slice  # of the output layer


class _Chunk:
    """The codes of a chunk as the networks see them: embedded, zero where they are not yet known.

    Args:
        tables: networks of at least K codebooks.
        shape: (G, K, F) of the codes.
    """

    def __init__(self, tables: PredictedTables, shape: tuple[int, ...]) -> None:
        self.tables, (self.groups, codebooks, frames) = tables, shape
        self._embedded = np.zeros((codebooks, self.groups, frames + 2 * MARGIN, tables.dim), np.int16)
        stages = [(number, np.arange(first, frames, step)) for number, (first, step, _) in enumerate(STAGES)]
        self.stages = [_Stage(k, *each) for k in range(codebooks) for each in stages if len(each[1])]

    def add(self, stage: _Stage, symbols: NDArray[np.int16]) -> None:
        """Add the codes of a stage, as symbols (digits, n)."""
        table, row = self.tables.networks[stage.codebook].embeddings, 0
        vectors = np.zeros((symbols.shape[1], self.tables.dim), np.int16)
        for size, values in zip(self.tables.digits[stage.codebook], symbols, strict=True):
            vectors += table[row + values]
            row += size
        self._embedded[stage.codebook][:, stage.frames + MARGIN] = vectors.reshape(self.groups, -1, self.tables.dim)

    def parts(self, stage: _Stage) -> list[_Part]:
        """The parts of a stage in the order of the format."""
        digits = self.tables.digits[stage.codebook]
        stops, blocks = np.cumsum(digits).tolist(), self._blocks(stage)
        return [
            _Part(digit, block, slice(stop - size, stop))
            for digit, (size, stop) in enumerate(zip(digits, stops, strict=True))
            for block in blocks
            if size > 1
        ]

    def activations(self, stage: _Stage) -> NDArray[np.int16]:
        """The input (n, H) of the output layer for the codes of a stage. All codes that they depend on were added."""
        k, network, offsets = stage.codebook, self.tables.networks[stage.codebook], STAGES[stage.number][2]
        group, frame = np.divmod(np.arange(self.groups * len(stage.frames)), len(stage.frames))
        group, frame = group[:, None], stage.frames[frame, None] + MARGIN
        out = np.empty((len(group), len(network.hidden_bias)), np.int16)
        for block in self._blocks(stage):
            own = self._embedded[k, group[block], frame[block] + np.array(offsets, np.int64)]  # (n, 4, E)
            lower = self._embedded[:k, group[block], frame[block] + np.array(LOWER)]  # (k, n, 5, E)
            own, lower = own.reshape(len(own), -1), lower.swapaxes(0, 1).reshape(len(own), -1)
            out[block] = network.activations(stage.number, own.astype(np.float64), lower.astype(np.float64))
        return out

    def _blocks(self, stage: _Stage) -> list[slice]:
        """The codes of a stage in blocks, so that a chunk of many codes takes bounded memory."""
        count, digits = self.groups * len(stage.frames), self.tables.digits[stage.codebook]
        numbers = self.tables.networks[stage.codebook].lower.shape[1] + 4 * max(
            digits
        )  # in memory for each code, about
        step = max(1, BLOCK // numbers)
        return [slice(start, min(start + step, count)) for start in range(0, count, step)]


class PredictedCoder:
    """Converts the codes (G, K, F) of one chunk to a payload and back; chunks do not depend on each other.

    Args:
        tables: networks of at least K codebooks.
        codebooks: K.
    """

    def __init__(self, tables: PredictedTables, codebooks: int) -> None:
        self.tables, self.codebooks = tables, codebooks
        self._family = constriction.stream.model.Categorical(perfect=False)

    def compress(self, codes: NDArray[np.integer]) -> bytes:
        """The payload of these codes."""
        coder = constriction.stream.stack.AnsCoder()
        for _, symbols, frequencies in self._known(codes, backward=True):
            coder.encode_reverse(symbols.astype(np.int32), self._family, _weights(frequencies))
        return pack_words(coder)

    def decompress(self, payload: bytes, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """The codes (G, K, F) of a payload. Raises DamagedStream for a payload that no encoder writes."""
        coder, chunk, codes = unpack_words(payload), _Chunk(self.tables, shape), np.empty(shape, np.int64)
        for stage in chunk.stages:
            activations, network = chunk.activations(stage), self.tables.networks[stage.codebook]
            digits = self.tables.digits[stage.codebook]
            symbols = np.zeros((len(digits), len(activations)), np.int16)
            for part in chunk.parts(stage):
                frequencies = frequencies_of(network.logits(activations[part.codes], part.rows))
                symbols[part.digit, part.codes] = coder.decode(self._family, _weights(frequencies))
            chunk.add(stage, symbols)
            codes[:, stage.codebook, stage.frames] = _joined(symbols, digits).reshape(shape[0], -1)
        if not coder.is_empty():
            raise DamagedStream("expected a payload to end after its symbols, got more data; the stream is damaged")
        return codes

    def bits(self, codes: NDArray[np.integer]) -> NDArray[np.float64]:
        """Bits (K,) of the codes (G, K, F) of each codebook under the predicted frequencies."""
        bits = np.zeros(self.codebooks)
        for codebook, symbols, frequencies in self._known(codes):
            found = np.take_along_axis(frequencies, symbols[:, None].astype(np.int64), 1)
            bits[codebook] += (PRECISION - np.log2(found)).sum()
        return bits

    def _known(
        self, codes: NDArray[np.integer], backward: bool = False
    ) -> Iterator[tuple[int, NDArray[np.int16], NDArray[np.int64]]]:
        """The codebook, symbols (n,) and frequencies (n, V) of each part of known codes, in the order of the format."""
        chunk, direction = _Chunk(self.tables, codes.shape), -1 if backward else 1
        stages = [(s, _split(codes[:, s.codebook, s.frames], self.tables.digits[s.codebook])) for s in chunk.stages]
        for stage, symbols in stages:
            chunk.add(stage, symbols)
        for stage, symbols in stages[::direction]:
            activations, network = chunk.activations(stage), self.tables.networks[stage.codebook]
            for part in chunk.parts(stage)[::direction]:
                logits = network.logits(activations[part.codes], part.rows)
                yield stage.codebook, symbols[part.digit, part.codes], frequencies_of(logits)


def _split(codes: NDArray[np.integer], digits: Sequence[int]) -> NDArray[np.int16]:
    """The symbols (digits, G n) of codes (G, n), the least significant first."""
    rest, symbols = codes.astype(np.int64).reshape(-1), np.empty((len(digits), codes.size), np.int16)
    for row, size in zip(symbols, digits, strict=True):
        rest, row[:] = np.divmod(rest, size)
    return symbols


def _joined(symbols: NDArray[np.int16], digits: Sequence[int]) -> NDArray[np.int64]:
    """The codes (n,) of symbols (digits, n)."""
    codes = np.zeros(symbols.shape[1], np.int64)
    for row, size in zip(symbols[::-1], digits[::-1], strict=True):
        codes = codes * size + row
    return codes


def _weights(frequencies: NDArray[np.int64]) -> Array:
    """The weights with which constriction has exactly these frequencies; see rans.py."""
    return (frequencies * 256 - 1).astype(np.float64)
