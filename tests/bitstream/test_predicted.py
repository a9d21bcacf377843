"""Coder 3: the frequencies that integer networks predict, its payloads, and what it refuses."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from narrows.bitstream import (
    AudioExtent,
    ImageExtent,
    PredictedTables,
    Reader,
    StreamHeader,
    predicted,
    read,
    read_header,
    write,
)
from narrows.bitstream.predicted import (
    LOWER,
    OWN,
    STAGES,
    CodebookNetwork,
    PredictedCoder,
    frequencies_of,
)
from narrows.errors import DamagedStream, InputError, WrongModel

DIGITS = ((8, 6), (5, 1, 3), (300,))
SIZES = np.array([48, 15, 300])


def random_network(rng, symbols, codebook, width=6, dim=3):
    def int8(*shape):
        return rng.integers(-127, 128, shape).astype(np.int8)

    def int32(*shape):
        return rng.integers(-(2**16), 2**16, shape).astype(np.int32)

    def shifts(rows):
        return rng.integers(0, 7, rows).astype(np.int8)

    return CodebookNetwork(
        int8(symbols, dim),
        int8(3, width, OWN * dim),
        int8(width, len(LOWER) * dim * codebook),
        shifts(width),
        int32(4, width),
        int8(width, width),
        shifts(width),
        int32(width),
        int8(symbols, width),
        shifts(symbols),
        int32(symbols),
    )


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    networks = tuple(random_network(rng, sum(digits), k) for k, digits in enumerate(DIGITS))
    return PredictedTables(DIGITS, networks, np.array([1000, 500, 2000], np.int32))


def codes_of(frames, groups=1, codebooks=3, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((groups, codebooks, frames)) * SIZES[:codebooks, None]).astype(np.int64)


def header_of(codes, tables, **changes):
    radices = ((48,), (15,), (300,))[: codes.shape[1]]
    settings = {"tables_digest": tables.digest[:4], "predicted": True} | changes
    return StreamHeader("m", bytes(8), AudioExtent(8000, 9, 1), radices, codes.shape[2:], 20, len(codes), **settings)


def plain_frequencies(tables, codebook, stage, own, lower):
    """Frequencies of the digits of a code as docs/stream.md defines them, in Python's integers."""
    network = tables.networks[codebook]

    def product(rows, shifts, vector):
        scaled = ([int(w) << int(s) for w in row] for row, s in zip(rows, shifts, strict=True))
        return [sum(w * v for w, v in zip(row, vector, strict=True)) for row in scaled]

    sums = [int(bias) for bias in network.input_bias[stage]]
    terms = product(network.lower, network.input_shifts, lower)
    sums = [a + b for a, b in zip(sums, terms, strict=True)]
    if stage:
        terms = product(network.own[stage - 1], network.input_shifts, own)
        sums = [a + b for a, b in zip(sums, terms, strict=True)]
    h = [min(max(x >> 9, 0), 4095) for x in sums]
    sums = zip(product(network.hidden, network.hidden_shifts, h), network.hidden_bias, strict=True)
    g = [min(max((a + int(b)) >> 12, 0), 4095) for a, b in sums]
    sums = zip(product(network.output, network.output_shifts, g), network.output_bias, strict=True)
    logits = [(a + int(b)) >> 14 for a, b in sums]
    tables_of_digits, row = [], 0
    for size in tables.digits[codebook]:
        part = logits[row : row + size]
        row += size
        distances = [max(part) - x for x in part]
        weights = [round(2 ** (24 - d % 64 / 64)) >> (d // 64) for d in distances]
        found = [1 + w * (65536 - size) // sum(weights) for w in weights]
        found[part.index(max(part))] += 65536 - sum(found)
        tables_of_digits.append(found)
    return tables_of_digits


def plain_run(tables, codes):
    """(symbol, frequencies) of all coded digits in the order of the format, for one group."""
    frames, dim = codes.shape[1], tables.networks[0].embeddings.shape[1]
    vectors = [{} for _ in tables.digits]
    coded = []
    for k, digits in enumerate(tables.digits[: len(codes)]):
        for stage, (first, step, offsets) in enumerate(STAGES):
            found = []
            for t in range(first, frames, step):
                own = [x for o in offsets for x in vectors[k].get(t + o, [0] * dim)]
                lower = [x for j in range(k) for o in LOWER for x in vectors[j].get(t + o, [0] * dim)]
                rest, symbols = int(codes[k, t]), []
                for size in digits:
                    rest, symbol = divmod(rest, size)
                    symbols.append(symbol)
                found.append((t, symbols, plain_frequencies(tables, k, stage, own, lower)))
            for d, size in enumerate(digits):
                if size > 1:
                    coded += [(symbols[d], frequencies[d]) for _, symbols, frequencies in found]
            for t, symbols, _ in found:
                rows = np.cumsum([0, *digits[:-1]]) + symbols
                vectors[k][t] = tables.networks[k].embeddings[rows].astype(int).sum(0).tolist()
    return coded


@pytest.mark.parametrize("frames", [1, 5, 27])
def test_frequencies_and_payload_equal_plain_integers(tables, frames):
    codes = codes_of(frames)
    expected = plain_run(tables, codes[0])
    found = []
    coder = PredictedCoder(tables, 3)
    for _, symbols, frequencies in coder._known(codes):
        found += zip(symbols.tolist(), frequencies.tolist(), strict=True)
    assert found == expected
    state = 0  # rANS with unlimited integers: the words of a payload are the digits of its state
    words = []
    for symbol, table in reversed(expected):
        width, start = 256 * table[symbol], 256 * sum(table[:symbol])
        if state >> 40 >= width:
            words.append(state & 0xFFFFFFFF)
            state >>= 32
        state = state // width << 24 | state % width + start
    while state:
        words.append(state & 0xFFFFFFFF)
        state >>= 32
    assert coder.compress(codes) == np.array(words, "<u4").tobytes().rstrip(b"\0")


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 8, 9, 61])
def test_streams_give_their_codes_for_any_number_of_codebooks(tables, groups, frames):
    for codebooks in (1, 2, 3):
        codes = codes_of(frames, groups, codebooks)
        data = write(header_of(codes, tables), codes, tables)
        assert data[4] == 3
        assert read_header(data).coder == "predicted"
        assert np.array_equal(read(data, tables), codes)
    chunk = Reader(data, tables).chunk(len(Reader(data, tables)) - 1)
    assert np.array_equal(chunk.codes, codes[:, :, chunk.start :])


def test_the_bits_are_those_of_the_payload(tables):
    codes = codes_of(400)
    coder = PredictedCoder(tables, 3)
    assert 0 <= 8 * len(coder.compress(codes)) - coder.bits(codes).sum() < 64


def test_frequencies_are_positive_and_sum_to_the_total():
    rng = np.random.default_rng(0)
    for size in (1, 2, 17, 4096):
        logits = rng.integers(-(2**30), 2**30, (50, size)) >> rng.integers(0, 30, (50, 1))
        frequencies = frequencies_of(logits)
        assert frequencies.min() >= 1
        assert (frequencies.sum(1) == 65536).all()
    assert frequencies_of(np.array([[0, 0, -64]])).tolist() == [[26215, 26214, 13107]]


def test_every_damaged_payload_is_refused_or_gives_codes_in_range(tables):
    rng = np.random.default_rng(1)
    coder, codes = PredictedCoder(tables, 3), codes_of(30)
    payload = bytearray(coder.compress(codes))
    refused = 0
    for _ in range(100):
        damaged = payload.copy()
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        try:
            found = coder.decompress(bytes(damaged), codes.shape)
        except DamagedStream:
            refused += 1
        else:
            assert ((found >= 0) & (found < SIZES[:, None])).all()
    assert refused
    with pytest.raises(DamagedStream, match="more data"):
        coder.decompress(bytes(payload) + b"\1\2\3\4", codes.shape)


def test_arrays_and_digest(tables):
    again = PredictedTables.from_arrays(tables.to_arrays())
    assert again == tables
    assert again.code_bits == (1000 / 256, 500 / 256, 2000 / 256)
    network = replace(tables.networks[1], hidden_bias=tables.networks[1].hidden_bias + 1)
    other = PredictedTables(DIGITS, (tables.networks[0], network, tables.networks[2]), tables.lengths)
    assert other != tables
    assert PredictedTables(DIGITS, tables.networks, tables.lengths + 1) == tables


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("digits", lambda a: a[:-1]),
        ("alphabets", lambda a: a + 1),
        ("alphabets", lambda a: a * 0),
        ("lengths", lambda a: a - 5000),
        ("hidden.1", lambda a: a[:-1]),
        ("hidden.0", lambda a: a.astype(np.float32)),
        ("input_shifts.2", lambda a: a + 100),
        ("output_shifts.2", lambda a: a - 100),
        ("lower.2", lambda a: None),
        ("digits", lambda a: a.astype(np.float32)),
        ("digits", lambda a: a.astype(np.int64)),
        ("digits", lambda a: a[:0]),
        ("digits", lambda a: a - a + 2**30),
        ("alphabets", lambda a: a.astype(np.float64)),
        ("alphabets", lambda a: a[None]),
        ("lengths", lambda a: a.reshape(3, 1)),
        ("lengths", lambda a: a.astype(np.float32) * np.nan),
        ("embeddings.0", lambda a: a[0, 0].reshape(())),
        ("embeddings.0", lambda a: a[:0]),
        ("embeddings.0", lambda a: a[:, :0]),
        ("embeddings.0", lambda a: np.repeat(a, 30, 1)),
        ("hidden.0", lambda a: a[0, 0].reshape(())),
        ("hidden_bias.0", lambda a: a[:0]),
        ("hidden_bias.0", lambda a: a.astype(np.int64)),
    ],
)
def test_wrong_arrays_are_refused(tables, name, change):
    arrays = tables.to_arrays()
    changed = change(arrays.pop(name))
    if changed is not None:
        arrays[name] = changed
    with pytest.raises(InputError):
        PredictedTables.from_arrays(arrays)


def test_an_array_too_many_is_refused(tables):
    with pytest.raises(InputError, match="expected 36 arrays, got 37"):
        PredictedTables.from_arrays(tables.to_arrays() | {"hidden.3": tables.networks[0].hidden})


def test_the_largest_sums_are_exact():
    """All weights and activations at their limits, of both signs: the result is that of unlimited integers."""
    digits, codebooks = ((2,) * 8,) * 3, 3
    for sign in (127, -128):
        networks = []
        for k in range(codebooks):
            network = random_network(np.random.default_rng(k), 16, k)
            arrays = {name: getattr(network, name) for name in network.__dataclass_fields__}
            for name, array in arrays.items():
                value = 12 if "shifts" in name else 2**31 - 1 if "bias" in name else sign
                arrays[name] = np.full_like(array, value)
            arrays["output"][::2] = -128
            networks.append(CodebookNetwork(**arrays))
        tables = PredictedTables(digits, tuple(networks), np.zeros(codebooks, np.int32))
        codes = np.random.default_rng(0).integers(0, 256, (1, codebooks, 20))
        coder = PredictedCoder(tables, codebooks)
        found = []
        for _, symbols, frequencies in coder._known(codes):
            found += zip(symbols.tolist(), frequencies.tolist(), strict=True)
        assert found == plain_run(tables, codes[0])
        assert np.array_equal(coder.decompress(coder.compress(codes), codes.shape), codes)


@pytest.mark.parametrize("block", [1, 100, 700])
def test_codes_in_blocks_give_the_same_payload(tables, block, monkeypatch):
    codes = codes_of(61, groups=2)
    coder = PredictedCoder(tables, 3)
    payload, bits = coder.compress(codes), coder.bits(codes)
    monkeypatch.setattr(predicted, "BLOCK", block)
    assert coder.compress(codes) == payload
    assert np.array_equal(coder.decompress(payload, codes.shape), codes)
    assert coder.bits(codes) == pytest.approx(bits)


def test_a_chunk_of_many_codes_takes_bounded_memory():
    """A few bytes may claim many codes: the tables of a stage of 2048 codes would be 64 MiB, several times."""
    tables = PredictedTables(
        ((4096,),), (random_network(np.random.default_rng(0), 4096, 0),), np.array([1], np.int32)
    )  # fmt: skip
    tracemalloc.start()
    with pytest.raises(DamagedStream):
        PredictedCoder(tables, 1).decompress(b"\1\2\3", (1, 1, 2**12))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120e6


def test_wrong_headers_and_tables_are_refused(tables):
    codes = codes_of(9)
    with pytest.raises(InputError, match="predicted frequencies"):
        header_of(codes, tables, tables_digest=None)
    with pytest.raises(InputError, match="predicted frequencies"):
        StreamHeader(
            "m", bytes(8), ImageExtent(4, 4, 3), ((48,),), (2, 2), 2, 1, tables.digest[:4], predicted=True
        )  # fmt: skip
    data = write(header_of(codes, tables), codes, tables)
    fewer = PredictedTables(DIGITS[:2], tables.networks[:2], tables.lengths[:2])
    with pytest.raises(WrongModel):
        read(data, fewer)
    with pytest.raises(InputError):
        read(data)
    for version in (1, 2, 4):
        with pytest.raises(Exception, match=r"version|valid form|checksum"):
            read(data[:4] + bytes([version]) + data[5:], tables)
