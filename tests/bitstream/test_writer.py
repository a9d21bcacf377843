import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from narrows.bitstream import (
    AudioExtent,
    FrequencyTables,
    Reader,
    StreamHeader,
    Writer,
    integer_frequencies,
    read,
    read_header,
    write,
)
from narrows.bitstream.chunk_coder import make_chunk_coder
from narrows.bitstream.framing import Framing
from narrows.bitstream.writer import join
from narrows.errors import DamagedStream, InputError


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("step", [1, 4, 6, 13, 22])
def test_parts_make_up_the_stream(make, raw, step):
    header, codes, tables = make(raw=raw)
    writer = Writer(header, tables)
    parts = [writer.push(codes[:, :, at : at + step]) for at in range(0, 22, step)]
    writer.finish()
    assert b"".join(parts) == write(header, codes, tables)


def test_bytes_come_with_the_step_that_completes_a_chunk(make):
    header, codes, tables = make()
    writer = Writer(header, tables)
    assert writer.push(codes[:, :, :5]) == b""
    assert writer.push(codes[:, :, 5:6]).startswith(header.to_bytes())
    assert writer.push(codes[:, :, 6:11]) == b""
    assert writer.push(codes[:, :, 11:12]) != b""


@pytest.mark.parametrize("raw", [False, True])
def test_payloads_of_chunks_make_up_the_stream(make, raw):
    header, codes, tables = make(raw=raw)
    coder = make_chunk_coder(header, tables)
    spans = [header.span(chunk) for chunk in range(header.chunks)]
    payloads = [coder.compress(codes[:, :, start:stop]) for start, stop in spans]
    assert join(header, payloads, tables, {}) == write(header, codes, tables)
    with pytest.raises(InputError, match="push the rest"):
        join(header, payloads[:-1], tables, {})
    with pytest.raises(InputError, match="whole chunks"):
        join(header, [*payloads, payloads[0]], tables, {})
    writer = Writer(header, tables)
    writer.push(codes[:, :, :1])
    with pytest.raises(InputError, match="whole chunks"):
        writer.push_payload(payloads[0])


def test_pushed_arrays_may_be_changed(make):
    header, codes, tables = make()
    writer = Writer(header, tables)
    part = codes[:, :, :3].copy()
    data = writer.push(part)
    part[:] = 0
    assert data + writer.push(codes[:, :, 3:]) == write(header, codes, tables)


def test_an_error_in_push_changes_nothing(make):
    header, codes, tables = make()
    writer = Writer(header, tables)
    data = writer.push(codes[:, :, :8])
    wrong = codes[:, :, 8:].copy()
    wrong[1, 0, 3] = 20
    for bad in (wrong, codes, codes[:1, :, 8:], codes[:, :2, 8:], codes[:, :, :0], codes[:, :, 8:] + 0.0):
        with pytest.raises(InputError):
            writer.push(bad)
    assert data + writer.push(codes[:, :, 8:]) == write(header, codes, tables)


def test_too_few_and_too_many(make):
    header, codes, tables = make()
    writer = Writer(header, tables)
    writer.push(codes[:, :, :20])
    with pytest.raises(InputError, match="expected 22 grid steps, got 20"):
        writer.finish()
    with pytest.raises(InputError, match="expected 22 grid steps, as the header says, got 24"):
        writer.push(codes[:, :, :4])
    writer.push(codes[:, :, 20:])
    writer.finish()
    with pytest.raises(InputError, match="got 23"):
        writer.push(codes[:, :, :1])


def test_tables_must_be_those_of_the_header(make):
    header, codes, tables = make()
    with pytest.raises(InputError, match="expected the tables of model"):
        write(header, codes)
    with pytest.raises(InputError, match="as the header says, got "):
        write(header, codes, make(seed=1)[2])
    with pytest.raises(InputError, match="expected no tables for a raw stream"):
        write(make(raw=True)[0], codes, tables)


def test_tables_of_other_alphabets(make):
    header, codes, _ = make()
    tables = FrequencyTables((integer_frequencies([1, 2, 3]),))
    other = StreamHeader(**{**vars(header), "tables_digest": tables.digest[:4]})
    with pytest.raises(InputError, match=r"expected tables of the alphabets \(20, 6, 7, 1\), got \(3,\)"):
        write(other, codes, tables)


def test_shape_must_be_that_of_the_header(make):
    header, codes, tables = make()
    with pytest.raises(InputError, match=r"expected codes \(2, 3, 22\), as the header says, got shape \(2, 3, 21\)"):
        write(header, codes[:, :, 1:], tables)


def test_memory_does_not_grow_with_length():
    """A file of 8 million codes, 64 MB as int64, goes through in less than 3 MB."""
    tables = FrequencyTables((integer_frequencies(np.ones(1000)),))
    header = StreamHeader("m", bytes(8), AudioExtent(1, 1, 1), ((1000,),), (8_000_000,), 50_000, 1, tables.digest[:4])
    part = np.random.default_rng(0).integers(0, 1000, (1, 1, 20_000))
    writer = Writer(header, tables)
    tracemalloc.start()
    try:
        sizes = [len(writer.push(part)) for _ in range(400)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    writer.finish()
    assert sum(sizes) == pytest.approx(8e6 * np.log2(1000) / 8, rel=0.001)
    assert peak < 3e6


def test_prefix_of_the_codebooks(make):
    header, codes, tables = make()
    short = StreamHeader(**{**vars(header), "radices": header.radices[:2]})
    data = write(short, codes[:, :2], tables)
    assert np.array_equal(read(data, tables), codes[:, :2])


def test_streams_of_equal_size_have_different_ids(make):
    header, codes, tables = make()
    header = replace(header, stream_id=bytes(3))
    first, second = (read_header(write(header, part, tables)) for part in (codes, codes[:, :, ::-1].copy()))
    assert first.stream_id != second.stream_id
    assert read_header(write(header, codes, tables)) == first


@pytest.mark.parametrize("raw", [False, True])
def test_a_chunk_of_another_recording_of_equal_size_is_damage(make, raw):
    header, codes, tables = make(raw=raw)
    header = replace(header, stream_id=bytes(3))
    one, two = write(header, codes, tables), write(header, codes[:, :, ::-1].copy(), tables)
    starts = [Framing(read_header(data)).locate(memoryview(data)).tolist() for data in (one, two)]
    spliced = one[: starts[0][2]] + two[starts[1][2] : starts[1][3]] + one[starts[0][3] :]
    with pytest.raises(DamagedStream, match="chunk 2 of 4"):
        read(spliced, tables)


@pytest.mark.parametrize("raw", [False, True])
def test_attachments_come_back(make, raw):
    header, codes, tables = make(raw=raw)
    attachments = {"audio": bytes(1000), "alpha": b"plane"}
    data = write(header, codes, tables, attachments)
    assert Reader(data, tables).attachments() == attachments
    assert np.array_equal(read(data, tables), codes)
    assert read_header(data).attachments == (("alpha", 5), ("audio", 1000))
    with pytest.raises(InputError, match=r"expected attachments from alpha, audio, times, scales, got \['thumbnail'\]"):
        write(header, codes, tables, {"thumbnail": b"1"})
    for empty, found in ((b"", "no bytes"), ("text", "an object of type str")):
        with pytest.raises(InputError, match=f"expected the attachment alpha as one byte or more, got {found}"):
            write(header, codes, tables, {"alpha": empty})
