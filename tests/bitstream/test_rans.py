import numpy as np
import pytest

from narrows.bitstream import FrequencyTables, alphabet_sizes, codebook_sizes, codes_to_symbols, integer_frequencies
from narrows.bitstream.rans import RansCoder, payload_limit
from narrows.errors import DamagedStream, InputError


def random_case(seed):
    """Radices, tables and codes, from almost uniform to very skewed, sometimes of one symbol only."""
    rng = np.random.default_rng(seed)
    books = int(rng.integers(1, 5))
    radices = tuple(
        tuple(int(rng.choice([1, 2, 3, 17, 289, 1000])) for _ in range(rng.integers(1, 4))) for _ in range(books)
    )
    power = int(rng.choice([1, 5, 60]))
    tables = FrequencyTables(
        tuple(integer_frequencies(rng.random(size) ** power + 1e-12) for size in alphabet_sizes(radices))
    )
    grid = tuple(int(size) for size in rng.integers(1, 9, rng.integers(1, 4)))
    sizes = np.array(codebook_sizes(radices)).reshape(1, -1, *(1,) * len(grid))
    return radices, tables, (rng.random((int(rng.integers(1, 3)), books, *grid)) * sizes).astype(np.int64)


@pytest.mark.parametrize("seed", range(60))
def test_equals_the_reference_both_ways(seed, reference):
    radices, tables, codes = random_case(seed)
    streams = [stream.tolist() for stream in codes_to_symbols(codes, radices)]
    lists = [table.tolist() for table in tables.frequencies]
    coder = RansCoder(radices, tables)
    payload = coder.compress(codes)
    assert payload == reference.encode(streams, lists)
    assert reference.decode(payload, lists, len(streams[0])) == streams
    assert np.array_equal(coder.decompress(payload, codes.shape), codes)
    assert len(payload) <= payload_limit(sum(len(stream) for stream in streams))


def test_long_and_likely_symbols(reference):
    rng = np.random.default_rng(1)
    tables = FrequencyTables((integer_frequencies(np.ones(4096)), integer_frequencies([1] + [0] * 299)))
    codes = np.stack([rng.integers(0, 4096, 3000), np.zeros(3000, int)])[None]
    coder = RansCoder(((4096,), (300,)), tables)
    payload = coder.compress(codes)
    assert payload == reference.encode(codes[0].tolist(), [table.tolist() for table in tables.frequencies])
    assert np.array_equal(coder.decompress(payload, codes.shape), codes)


@pytest.mark.parametrize("value", range(5))
def test_one_symbol_is_its_own_byte(value):
    coder = RansCoder(((5,),), FrequencyTables((integer_frequencies([1, 2, 3, 4, 5]),)))
    payload = coder.compress(np.array([[[value]]]))
    assert payload == bytes([value]).rstrip(b"\0")
    assert coder.decompress(payload, (1, 1, 1)).tolist() == [[[value]]]


def test_alphabets_of_one_symbol_take_nothing():
    coder = RansCoder(((1,), (1, 1)), FrequencyTables((integer_frequencies([1]),) * 3))
    assert coder.compress(np.zeros((2, 2, 9), int)) == b""
    assert not coder.decompress(b"", (2, 2, 9)).any()
    with pytest.raises(DamagedStream):
        coder.decompress(b"\1", (2, 2, 9))


def test_zeros_take_nothing():
    coder = RansCoder(((5,),), FrequencyTables((integer_frequencies([1, 2, 3, 4, 5]),)))
    assert coder.compress(np.zeros((1, 1, 1000), int)) == b""
    assert not coder.decompress(b"", (1, 1, 1000)).any()


def test_tables_of_more_codebooks_than_are_sent():
    tables = FrequencyTables(tuple(integer_frequencies([1, 2, 3]) for _ in range(4)))
    codes = np.array([[[0, 1, 2, 1], [2, 2, 0, 1]]])
    coder = RansCoder(((3,), (3,)), tables)
    assert np.array_equal(coder.decompress(coder.compress(codes), codes.shape), codes)


@pytest.mark.parametrize("seed", range(20))
def test_each_list_of_codes_has_one_payload(seed):
    """A payload that can be decoded encodes to the same bytes."""
    rng = np.random.default_rng(seed)
    radices, tables, codes = random_case(seed)
    coder = RansCoder(radices, tables)
    accepted = 0
    for payload in [rng.bytes(int(rng.integers(0, 12))) for _ in range(200)]:
        try:
            decoded = coder.decompress(payload, codes.shape)
        except DamagedStream:
            continue
        accepted += 1
        assert coder.compress(decoded) == payload
    assert accepted


def test_invalid_payloads():
    coder = RansCoder(((5,),), FrequencyTables((integer_frequencies([1, 2, 3, 4, 5]),)))
    payload = coder.compress(np.array([[[1, 2, 3, 4, 0, 1]]]))
    with pytest.raises(DamagedStream, match="zero byte"):
        coder.decompress(payload + b"\0", (1, 1, 6))
    with pytest.raises(DamagedStream, match="got more data"):
        coder.decompress(payload + b"\1", (1, 1, 6))
    with pytest.raises(DamagedStream, match="at most 20 bytes, got 31"):
        coder.decompress(bytes(30) + b"\1", (1, 1, 6))


def test_invalid_codes():
    coder = RansCoder(((5,),), FrequencyTables((integer_frequencies([1, 2, 3, 4, 5]),)))
    with pytest.raises(InputError, match="from 0 to 4 in codebook 0, got 5"):
        coder.compress(np.array([[[1, 5]]]))


@pytest.mark.parametrize("power", [0, 1, 8])
def test_size_is_the_estimate(power):
    rng = np.random.default_rng(power)
    weights = rng.random(1000) ** power
    codes = rng.choice(1000, (1, 4, 2000), p=weights / weights.sum())
    radices = ((1000,),) * 4
    tables = FrequencyTables.fit(codes_to_symbols(codes, radices), alphabet_sizes(radices))
    bits = 8 * len(RansCoder(radices, tables).compress(codes))
    assert bits == pytest.approx(tables.estimated_bits(codes_to_symbols(codes, radices)), rel=0.002)
