import mmap
import time
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest

from narrows.bitstream import (
    AudioExtent,
    FrequencyTables,
    ImageExtent,
    Reader,
    StreamHeader,
    VideoExtent,
    alphabet_sizes,
    codebook_sizes,
    codes_to_symbols,
    integer_frequencies,
    read,
    write,
)
from narrows.bitstream.framing import Framing
from narrows.errors import DamagedStream, InputError, StreamError, WrongModel


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_round_trip(seed, raw):
    rng = np.random.default_rng(seed)
    extent = [AudioExtent(8000, 5, 2), ImageExtent(5, 6, 3), VideoExtent(3, 5, 6, 3, 25, 1)][seed % 3]
    grid = tuple(int(size) for size in rng.integers(1, 12, extent.axes))
    radices = tuple(
        tuple(int(size) for size in rng.choice([1, 2, 8, 17, 1024, 4096], rng.integers(1, 4)))
        for _ in range(rng.integers(1, 6))
    )
    groups = int(rng.integers(1, 4))
    sizes = np.array(codebook_sizes(radices)).reshape(1, -1, *(1,) * len(grid))
    codes = (rng.random((groups, len(radices), *grid)) ** 2 * sizes).astype(np.int64)
    tables = FrequencyTables.fit(codes_to_symbols(codes, radices), alphabet_sizes(radices))
    digest = None if raw else tables.digest[:4]
    header = StreamHeader("m", bytes(8), extent, radices, grid, int(rng.integers(1, 9)), groups, digest)
    data = write(header, codes, None if raw else tables)
    decoded = read(data, tables)
    assert decoded.dtype == np.int64
    assert np.array_equal(decoded, codes)
    assert replace(Reader(data, tables).header, stream_id=bytes(3)) == header


@pytest.mark.parametrize("raw", [False, True])
def test_chunks(make, raw):
    header, codes, tables = make(raw=raw)
    reader = Reader(write(header, codes, tables), tables)
    assert len(reader) == 4
    spans = [(chunk.index, chunk.start, chunk.stop) for chunk in reader]
    assert spans == [(0, 0, 6), (1, 6, 12), (2, 12, 18), (3, 18, 22)]
    for index in (3, 1, 0, 2):
        chunk = reader.chunk(index)
        assert np.array_equal(chunk.codes, codes[:, :, chunk.start : chunk.stop])
    for index in (-1, 4):
        with pytest.raises(InputError, match="expected a chunk from 0 to 3"):
            reader.chunk(index)


def test_one_chunk_is_decoded_without_the_others(make):
    header, codes, tables = make()
    data = bytearray(write(header, codes, tables))
    starts = Framing(header).locate(memoryview(data)).tolist()
    data[starts[1] - 1] ^= 1  # in chunk 0
    reader = Reader(data, tables)
    assert np.array_equal(reader.chunk(2).codes, codes[:, :, 12:18])
    with pytest.raises(DamagedStream, match="chunk 0 of 4"):
        reader.verify()
    with pytest.raises(DamagedStream, match="chunk 0 of 4"):
        reader.chunk(0)


def test_a_memory_mapped_file(make, tmp_path):
    header, codes, tables = make()
    (tmp_path / "a.nrw").write_bytes(write(header, codes, tables))
    with (tmp_path / "a.nrw").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        assert np.array_equal(read(data, tables), codes)


@pytest.mark.parametrize("raw", [False, True])
def test_every_bit_flip(make, raw):
    header, codes, tables = make(raw=raw)
    data = write(header, codes, tables)
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StreamError):
            read(changed, tables)


@pytest.mark.parametrize("raw", [False, True])
def test_every_truncation_and_anything_more(make, raw):
    header, codes, tables = make(raw=raw)
    data = write(header, codes, tables)
    for length in range(len(data)):
        with pytest.raises(StreamError):
            read(data[:length], tables)
    for more in (b"\0", b"\xff", bytes(1000), data):
        with pytest.raises(DamagedStream, match="expected the stream to end with its last chunk"):
            read(data + more, tables)


def test_any_byte_replaced(make):
    header, codes, tables = make()
    data = write(header, codes, tables)
    for place in range(len(data)):
        for value in (0, 0x7F, 0x80, 0xFF):
            changed = data[:place] + bytes([value]) + data[place + 1 :]
            if changed != data:
                with pytest.raises(StreamError):
                    read(changed, tables)


@pytest.mark.parametrize("raw", [False, True])
def test_chunks_swapped_repeated_or_from_another_file(make, raw):
    header, codes, tables = make(raw=raw)
    data = write(header, codes, tables)
    ends = [*Framing(header).locate(memoryview(data)).tolist(), len(data)]
    head, *chunks = [data[start:stop] for start, stop in zip([0, *ends], ends, strict=False)]
    assert read(b"".join([head, *chunks]), tables) is not None
    for order in ([1, 0, 2, 3], [0, 0, 2, 3], [0, 1, 2, 2], [0, 1, 3, 2]):
        with pytest.raises(DamagedStream):
            read(b"".join([head, *(chunks[index] for index in order)]), tables)
    other = replace(header, model="other").to_bytes()
    with pytest.raises(DamagedStream, match="chunk 0 of 4"):
        read(b"".join([other, *chunks]), tables)


def test_other_tables(make):
    header, codes, tables = make()
    data = write(header, codes, tables)
    with pytest.raises(WrongModel, match=f"expected the tables {tables.digest[:4].hex()} of model 'small'"):
        read(data, make(seed=1)[2])
    with pytest.raises(InputError, match="expected the tables of model 'small', got none"):
        read(data)


def test_other_tables_with_the_same_digest(make):
    """Four bytes may be equal by chance; then the coder finds the error at the end of the payload."""
    header, codes, tables = make()
    other = make(seed=1)[2]
    data = write(replace(header, tables_digest=other.digest[:4]), codes, other)
    object.__setattr__(tables, "digest", other.digest)
    with pytest.raises(DamagedStream, match="got more data"):
        read(data, tables)


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        {"grid": (2**31,), "steps": 1},
        {"grid": (2**40,), "steps": 2**14},
        {"grid": (2**14,), "steps": 2**14},
        {"steps": 1},
        {"steps": 5},
        {"grid": (2**14,), "steps": 2**12},
        {"radices": ((4096,) * 5,) * 3},
        {"groups": 255},
    ],
)
def test_wrong_headers_cost_little_time_and_memory(make, raw, values):
    """Counts that the stream is too short for are an error at once, even if all checksums are right."""
    header, codes, tables = make(raw=raw)
    data = write(header, codes, tables)
    wrong = replace(header, **values)
    assert wrong.to_bytes()[-4:] == zlib.crc32(wrong.to_bytes()[:-4]).to_bytes(4, "little")
    body = data[len(header.to_bytes()) :]
    tracemalloc.start()
    begun = time.perf_counter()
    try:
        for made in (body, Framing(wrong).wrap(0, body[9:]), Framing(wrong).wrap(0, body[9:]) + body):
            with pytest.raises((StreamError, InputError)):
                read(wrong.to_bytes() + made, tables)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - begun < 2
    assert peak < 3e6


def test_more_codes_than_one_array_should_hold():
    tables = FrequencyTables((integer_frequencies([60000, 1]),))
    header = StreamHeader("m", bytes(8), AudioExtent(1, 1, 1), ((2,),), (2**27,), 2**20, 1, tables.digest[:4])
    framing = Framing(header)
    data = header.to_bytes() + b"".join(framing.wrap(chunk, b"") for chunk in range(128))
    with pytest.raises(InputError, match="at most 67108864 codes to be read at once"):
        read(data, tables)
    reader = Reader(data, tables)
    assert reader.chunk(127).codes.shape == (1, 1, 2**20)


def test_size_is_the_estimate_and_the_framing():
    rng = np.random.default_rng(0)
    radices = ((1000,),) * 6
    codes = np.minimum(rng.geometric(0.01, (1, 6, 1500)) - 1, 999)
    tables = FrequencyTables.fit(codes_to_symbols(codes, radices), alphabet_sizes(radices))
    header = StreamHeader("speech", bytes(8), AudioExtent(24000, 480000, 1), radices, (1500,), 75, 1, tables.digest[:4])
    size = len(write(header, codes, tables)) - len(header.to_bytes()) - header.chunks * 6
    assert size == pytest.approx(tables.estimated_bits(codes_to_symbols(codes, radices)) / 8, rel=0.01)


def test_the_only_chunk_cannot_be_recovered(make):
    header, codes, tables = make()
    for steps, advice in (
        (6, r"use --recover \(recover\(\) in Python\) for the others"),
        (22, "get an undamaged copy"),
    ):
        data = bytearray(write(replace(header, steps=steps), codes, tables))
        data[-1] ^= 1
        for damaged in (bytes(data), bytes(data[:-1])):
            with pytest.raises(DamagedStream, match=advice):
                read(damaged, tables)
