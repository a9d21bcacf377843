import time
from dataclasses import replace

import numpy as np
import pytest

from narrows.bitstream import (
    AudioExtent,
    Damage,
    FrequencyTables,
    StreamHeader,
    inspect,
    integer_frequencies,
    read,
    read_header,
    recover,
    write,
)
from narrows.bitstream.framing import Framing
from narrows.errors import DamagedStream, InputError, StreamError, WrongModel


@pytest.fixture(params=[False, True], ids=["rans", "raw"])
def stream(request, make):
    """header, codes, tables, bytes, and where each chunk begins and the last ends."""
    header, codes, tables = make(raw=request.param)
    data = write(header, codes, tables)
    return header, codes, tables, data, [*Framing(header).locate(memoryview(data)).tolist(), len(data)]


def flip(data, *places):
    changed = bytearray(data)
    for place in places:
        changed[place] ^= 0x10
    return bytes(changed)


def lost(header, codes, damaged):
    """The codes that remain when these chunks are lost."""
    left = codes.copy()
    for chunk in damaged:
        start, stop = header.span(chunk)
        left[:, :, start:stop] = -1
    return left


def test_nothing_is_lost(stream):
    _, codes, tables, data, _ = stream
    recovered = recover(data, tables)
    assert recovered.damaged == ()
    assert np.array_equal(recovered.codes, codes)


def test_any_damaged_byte_costs_its_chunk_only(stream):
    header, codes, tables, data, starts = stream
    for place in range(starts[0], len(data)):
        chunk = next(index for index in range(4) if place < starts[index + 1])
        recovered = recover(flip(data, place), tables)
        assert recovered.damaged == (Damage(chunk, chunk, *header.span(chunk)),)
        assert np.array_equal(recovered.codes, lost(header, codes, [chunk]))


def test_consecutive_damaged_chunks_are_one_span(stream):
    header, codes, tables, data, starts = stream
    recovered = recover(flip(data, starts[1], starts[3] - 1), tables)
    assert recovered.damaged == (Damage(1, 2, 6, 18),)
    assert np.array_equal(recovered.codes, lost(header, codes, [1, 2]))


def test_first_and_last(stream):
    header, codes, tables, data, starts = stream
    recovered = recover(flip(data, starts[0] + 1, len(data) - 1), tables)
    assert recovered.damaged == (Damage(0, 0, 0, 6), Damage(3, 3, 18, 22))
    assert np.array_equal(recovered.codes, lost(header, codes, [0, 3]))


def test_every_truncation(stream):
    header, codes, tables, data, starts = stream
    for length in range(starts[1], len(data)):
        whole = next(index for index in range(4) if length < starts[index + 1])
        recovered = recover(data[:length], tables)
        assert recovered.damaged == (Damage(whole, 3, 6 * whole, 22),)
        assert np.array_equal(recovered.codes, lost(header, codes, range(whole, 4)))
    for length in range(starts[0], starts[1]):
        with pytest.raises(DamagedStream, match="none of 4 chunks is intact"):
            recover(data[:length], tables)


def test_bytes_missing_or_added_in_the_middle(make):
    header, codes, tables = make()
    data = write(header, codes, tables)
    start = Framing(header).locate(memoryview(data)).tolist()[1]
    for changed in (data[: start + 7] + data[start + 9 :], data[: start + 7] + b"more" + data[start + 7 :]):
        recovered = recover(changed, tables)
        assert recovered.damaged == (Damage(1, 1, 6, 12),)
        assert np.array_equal(recovered.codes, lost(header, codes, [1]))


def test_a_chunk_is_missing(make):
    header, codes, tables = make()
    data = write(header, codes, tables)
    starts = Framing(header).locate(memoryview(data)).tolist()
    recovered = recover(data[: starts[1]] + data[starts[2] :], tables)
    assert recovered.damaged == (Damage(1, 1, 6, 12),)
    assert np.array_equal(recovered.codes, lost(header, codes, [1]))


def test_damaged_chunks_are_kept(make):
    header, codes, _ = make(raw=True)
    data = write(header, codes)
    starts = Framing(header).locate(memoryview(data)).tolist()
    changed = bytearray(data)
    changed[starts[1] + 4] ^= 1  # the lowest bit of the first code of chunk 1
    recovered = recover(changed, keep_damaged=True)
    assert recovered.damaged == (Damage(1, 1, 6, 12),)
    expected = codes.copy()
    expected[0, 0, 6] ^= 1
    assert np.array_equal(recovered.codes, expected)
    assert (recover(changed).codes[:, :, 6:12] == -1).all()


def test_kept_codes_outside_their_codebook_are_lost(make):
    header, codes, _ = make(raw=True)
    data = bytearray(write(header, codes))
    start = Framing(header).locate(memoryview(data)).tolist()[1] + 4
    data[start] |= 0x1F  # 5 bits: code 31 of 20
    assert recover(data, keep_damaged=True).codes[0, 0, 6] == -1


def test_all_chunks_damaged(stream):
    header, _, tables, data, starts = stream
    changed = flip(data, *(start - 1 for start in starts[1:]))
    with pytest.raises(DamagedStream, match="none of 4 chunks is intact"):
        recover(changed, tables)
    if header.coder == "raw":
        assert recover(changed, keep_damaged=True).damaged == (Damage(0, 3, 0, 22),)


def test_damaged_chunks_are_only_kept_for_raw_streams(make):
    header, codes, tables = make()
    with pytest.raises(InputError, match="expected a raw stream for keep_damaged=True, got one of coder 'rans'"):
        recover(write(header, codes, tables), tables, keep_damaged=True)


def test_an_invalid_payload_with_a_right_checksum(make):
    header, codes, tables = make()
    data = write(header, codes, tables)
    start = Framing(header).locate(memoryview(data)).tolist()[3]
    recovered = recover(data[:start] + Framing(header).wrap(3, b"\xff" * 60), tables)
    assert recovered.damaged == (Damage(3, 3, 18, 22),)


def test_a_damaged_header_is_an_error(stream):
    _, _, tables, data, starts = stream
    for place in range(starts[0]):
        with pytest.raises(StreamError):
            recover(flip(data, place), tables)


def test_other_tables(make):
    header, codes, tables = make()
    with pytest.raises(WrongModel):
        recover(write(header, codes, tables), make(seed=1)[2])


def test_inspect(stream):
    header, _, _, data, starts = stream
    report = inspect(data)
    assert report.header == header
    assert report.intact
    assert report.header_bytes == starts[0]
    assert report.framing_bytes == 4 * (4 if header.coder == "raw" else 5)
    assert report.header_bytes + report.framing_bytes + report.payload_bytes == len(data)
    damaged = inspect(flip(data, starts[2]))
    assert damaged.damaged == (Damage(2, 2, 12, 18),)
    assert damaged.damaged_bytes == starts[3] - starts[2]
    assert not damaged.intact


def test_inspect_counts_appended_bytes(stream):
    data = stream[3]
    report = inspect(data + b"12345")
    assert report.damaged == ()
    assert report.damaged_bytes == 5
    assert not report.intact


def test_inspect_is_fast_for_a_header_with_too_many_chunks(make):
    header, codes, tables = make()
    body = write(header, codes, tables)[len(header.to_bytes()) :]
    wrong = replace(header, grid=(2**31,), steps=1)
    begun = time.perf_counter()
    assert inspect(wrong.to_bytes() + body).damaged == (Damage(0, 2**31 - 1, 0, 2**31),)
    assert time.perf_counter() - begun < 2


def test_the_search_ends():
    """The search in a megabyte of noise ends within its budget."""
    tables = FrequencyTables((integer_frequencies(np.ones(4096)),))
    header = StreamHeader("m", bytes(8), AudioExtent(1, 1, 1), ((4096,),), (2**30,), 2**20, 1, tables.digest[:4])
    noise = np.random.default_rng(0).integers(0, 256, 2**20, np.uint8).tobytes()
    begun = time.perf_counter()
    assert len(inspect(header.to_bytes() + noise).damaged) == 1
    assert time.perf_counter() - begun < 10


def test_intact_chunks_do_not_count_for_the_budget(stream, monkeypatch):
    monkeypatch.setattr("narrows.bitstream.recovery.MAX_HASHED", 0)
    assert inspect(stream[3]).intact


def test_length_of_a_large_chunk_is_damaged():
    """The chunks after it are found byte by byte."""
    rng = np.random.default_rng(0)
    tables = FrequencyTables((integer_frequencies(np.ones(256)),))
    header = StreamHeader("m", bytes(8), AudioExtent(1, 1, 1), ((256,),), (60_000,), 20_000, 1, tables.digest[:4])
    data = write(header, rng.integers(0, 256, (1, 1, 60_000)), tables)
    start = Framing(header).locate(memoryview(data)).tolist()[1]
    assert inspect(flip(data, start)).damaged == (Damage(1, 1, 20_000, 40_000),)


def test_long_loss_of_large_chunks():
    """Damaged payloads of many consecutive chunks are skipped by their lengths."""
    rng = np.random.default_rng(0)
    tables = FrequencyTables((integer_frequencies(np.ones(256)),))
    header = StreamHeader("m", bytes(8), AudioExtent(1, 1, 1), ((256,),), (400_000,), 20_000, 1, tables.digest[:4])
    codes = rng.integers(0, 256, (1, 1, 400_000))
    data = write(header, codes, tables)
    starts = Framing(header).locate(memoryview(data)).tolist()
    changed = flip(data, *(start + 10_000 for start in starts[3:15]))
    recovered = recover(changed, tables)
    assert recovered.damaged == (Damage(3, 14, 60_000, 300_000),)
    assert np.array_equal(recovered.codes, lost(header, codes, range(3, 15)))
    assert np.array_equal(read(data, tables), codes)


@pytest.mark.parametrize("raw", [False, True])
def test_damage_in_an_attachment_costs_it_alone(make, raw):
    header, codes, tables = make(raw=raw)
    attachments = {"alpha": bytes(range(100)), "audio": bytes(200)}
    data = write(header, codes, tables, attachments)
    start = len(read_header(data).to_bytes())
    assert inspect(data).intact
    assert inspect(data).attachment_bytes == 308
    for place in range(start, start + 308, 7):
        name = "alpha" if place < start + 104 else "audio"
        damaged = flip(data, place)
        with pytest.raises(DamagedStream, match=f"the attachment {name} fails its checksum"):
            read(damaged, tables)
        recovered = recover(damaged, tables)
        assert recovered.attachments == attachments | {name: None}
        assert recovered.damaged == ()
        assert np.array_equal(recovered.codes, codes)
        assert inspect(damaged).damaged_attachments == (name,)
        assert not inspect(damaged).intact
        assert inspect(damaged).damaged_bytes == len(attachments[name]) + 4


def test_bytes_missing_in_an_attachment(make):
    header, codes, tables = make()
    data = write(header, codes, tables, {"alpha": bytes(100)})
    start = len(read_header(data).to_bytes()) + 50
    for changed in (data[:start] + data[start + 9 :], data[:start] + b"more" + data[start:]):
        recovered = recover(changed, tables)
        assert recovered.attachments == {"alpha": None}
        assert recovered.damaged == ()
        assert np.array_equal(recovered.codes, codes)


def test_attachments_longer_than_the_stream(make):
    header, codes, tables = make()
    body = write(header, codes, tables)[len(header.to_bytes()) :]
    wrong = replace(header, attachments=(("alpha", 2**40),))
    with pytest.raises(DamagedStream, match="too short"):
        read(wrong.to_bytes() + body, tables)
    assert inspect(wrong.to_bytes() + body).damaged_attachments == ("alpha",)


def test_a_chunk_that_cannot_be_decoded_is_not_intact_though_its_checksum_is_right(make):
    header, codes, tables = make()
    header = read_header(write(header, codes, tables))  # with its stream id
    framing = Framing(header)
    data = header.to_bytes() + b"".join(framing.wrap(index, b"\0") for index in range(header.chunks))
    with pytest.raises(DamagedStream, match="is intact"):
        recover(data, tables)
