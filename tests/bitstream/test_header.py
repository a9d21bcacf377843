import zlib
from dataclasses import replace

import pytest

from narrows.bitstream import AudioExtent, ImageExtent, StreamHeader, VideoExtent, read_header
from narrows.errors import DamagedStream, InputError, NewerStream, StreamError

AUDIO = StreamHeader(
    "speech", b"weights!", AudioExtent(24000, 3600 * 24000, 1), ((1000,),) * 6, (270000,), 75, 1, b"\1\2\3\4"
)
IMAGE = StreamHeader("photo", bytes(8), ImageExtent(480, 640, 3), ((289, 289, 289),), (30, 40), 8)
VIDEO = StreamHeader("movie", bytes(8), VideoExtent(100, 480, 640, 3, 30000, 1001), ((4096, 16),), (25, 30, 40), 1)
ALPHA = replace(IMAGE, attachments=(("alpha", 300),))
BOTH = replace(VIDEO, attachments=(("alpha", 1), ("audio", 2**40)))
LONG = replace(AUDIO, model="n" * 63, radices=tuple((2 + book,) * 8 for book in range(100)), steps=1)


@pytest.mark.parametrize("header", [AUDIO, IMAGE, VIDEO, LONG, ALPHA, BOTH, replace(AUDIO, model="größe 音")])
def test_round_trip(header):
    assert read_header(header.to_bytes()) == header
    assert read_header(header.to_bytes() + b"chunks") == header


def test_audio_header_is_small():
    assert len(AUDIO.to_bytes()) <= 50
    assert len(replace(AUDIO, tables_digest=None).to_bytes()) <= 46


def test_facts():
    assert AUDIO.shape == (1, 6, 270000)
    assert AUDIO.coder == "rans"
    assert IMAGE.coder == "raw"
    assert AUDIO.codebook_sizes == (1000,) * 6
    assert IMAGE.chunks == 4
    assert [IMAGE.span(chunk) for chunk in range(4)] == [(0, 8), (8, 16), (16, 24), (24, 30)]
    assert IMAGE.chunk_shape(3) == (1, 1, 6, 40)
    assert replace(IMAGE, groups=2).positions(3) == 480


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": ""}, "model name"),
        ({"model": "n" * 64}, "model name"),
        ({"model": "a\x1b[2J"}, "printable"),
        ({"model": "\ud800"}, "printable"),
        ({"fingerprint": b"short"}, "expected a fingerprint of 8 bytes, got b'short'"),
        ({"fingerprint": "8 chars!"}, "got '8 chars!'; use bytes.fromhex"),
        ({"tables_digest": bytes(32)}, "or None, got 32 bytes"),
        ({"radices": ()}, "expected 1 to 1024 codebooks, got 0"),
        ({"radices": ((4097,),)}, "expected an alphabet of codebook 0 from 1 to 4096, got 4097"),
        ({"grid": (0,)}, r"expected a size of the grid from 1 to .*, got 0"),
        ({"grid": ()}, "expected a grid of 1 sizes for audio"),
        ({"grid": (3, 4)}, "expected a grid of 1 sizes for audio"),
        ({"grid": (2**48 + 1,)}, "a size of the grid"),
        ({"grid": (7.0,)}, "as an integer"),
        ({"grid": (2**40,), "steps": 1}, "expected at most 4294967295 chunks"),
        ({"steps": 0}, r"expected steps from 1 to .*, got 0"),
        ({"steps": 200_000}, "at most 1048576 digits, got 1200000 with steps=200000"),
        ({"groups": 0}, "expected groups from 1 to 255, got 0"),
        ({"groups": True}, "as an integer"),
    ],
)
def test_invalid_fields(change, message):
    with pytest.raises(InputError, match=message):
        replace(AUDIO, **change)


@pytest.mark.parametrize(
    "extent", [lambda: AudioExtent(0, 1, 1), lambda: AudioExtent(8000, 0, 1), lambda: ImageExtent(1, 1, 256)]
)
def test_invalid_extents(extent):
    with pytest.raises(InputError, match=r"expected .* from 1 to"):
        extent()


def test_steps_beyond_the_grid_make_one_chunk():
    assert replace(AUDIO, grid=(10,)).chunks == 1


def with_checksum(data):
    return bytes(data) + zlib.crc32(data).to_bytes(4, "little")


def test_every_bit_flip_and_truncation():
    data = AUDIO.to_bytes()
    for length in range(len(data)):
        with pytest.raises(StreamError):
            read_header(data[:length])
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StreamError):
            read_header(bytes(changed))


def test_newer_version_names_both_and_claims_no_damage():
    with pytest.raises(NewerStream, match=r"expected format version 4 or older, got version 5; update") as caught:
        read_header(b"\x8eNRW\x05 of whatever form")
    assert "damage" not in str(caught.value)


def test_streams_have_the_lowest_version_that_holds_them():
    attached = {"alpha": 2, "audio": 2, "times": 3, "scales": 4}
    for name, version in attached.items():
        data = replace(VIDEO, attachments=((name, 5),)).to_bytes()
        assert data[4] == version
        assert read_header(data).attachments == ((name, 5),)


def test_version_one():
    with pytest.raises(StreamError, match=r"got version 1 of narrows 0\.1; encode"):
        read_header(b"\x8eNRW\x01 of whatever form")


def test_version_zero():
    with pytest.raises(DamagedStream, match="version 0"):
        read_header(b"\x8eNRW\x00")


@pytest.mark.parametrize("data", [b"RIFF....WAVE", b"\x0eNRW\x01", b"text", b"\xff"])
def test_other_data(data):
    with pytest.raises(StreamError, match=r"expected an \.nrw stream, which begins with"):
        read_header(data)


def test_no_data():
    with pytest.raises(DamagedStream, match="after 0 bytes"):
        read_header(b"")


# Offsets in AUDIO: 5 medium and coder, 6 stream id, 9 name, 16 fingerprint, 24 digest, 28 rate, 31 samples,
# 35 channels, 36 groups, 37 codebooks, 38 run, 39 digits, 40 radix, 42 grid, 45 steps, 46 checksum.
INVALID = {
    "medium 4": (5, b"\x41", 1),
    "coder 2": (5, b"\x12", 1),
    "coder 3": (5, b"\x13", 1),
    "attachments that are not there": (5, b"\x19", 1),
    "name not utf-8": (10, b"\xff", 1),
    "name with a line break": (10, b"\n", 1),
    "no name": (9, b"\0", 1),
    "name of 64 bytes": (9, b"\x40", 1),
    "rate 0": (28, b"\0", 3),
    "rate 2^40": (28, b"\x80\x80\x80\x80\x80\x40", 3),
    "samples 2^62": (31, b"\x80" * 8 + b"\x40", 4),
    "samples padded": (31, b"\x81\x00", 4),
    "256 channels": (35, b"\x80\x02", 1),
    "2^40 codebooks": (37, b"\x80\x80\x80\x80\x80\x40", 1),
    "no codebooks": (37, b"\0", 4),
    "a run of none": (38, b"\0", 1),
    "a run beyond the codebooks": (38, b"\7", 1),
    "2^20 digits": (39, b"\x80\x80\x40", 1),
    "no digits": (39, b"\0", 3),
    "alphabet 0": (40, b"\0", 2),
    "alphabet 2^30": (40, b"\x80\x80\x80\x80\x04", 2),
    "runs not merged": (38, b"\3\1\xe8\7\3\1\xe8\7", 4),
    "grid 0": (42, b"\0", 3),
    "grid 2^60": (42, b"\x80" * 8 + b"\x10", 3),
    "steps 0": (45, b"\0", 1),
    "steps 2^47": (45, b"\x80" * 6 + b"\x20", 1),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_values_with_a_right_checksum(name):
    offset, value, length = INVALID[name]
    data = AUDIO.to_bytes()[:-4]
    assert read_header(with_checksum(data)) == AUDIO
    with pytest.raises(DamagedStream):
        read_header(with_checksum(data[:offset] + value + data[offset + length :]))


@pytest.mark.parametrize("data", ["talk.nrw", None, 3])
def test_what_are_no_bytes_is_refused(data: object) -> None:
    with pytest.raises(InputError, match=r"expected the bytes of an .nrw stream, got"):
        read_header(data)  # type: ignore[arg-type]


ATTACHED = {
    "none": b"\0",
    "three": b"\3\1\1\2\1\2\1",
    "unknown": b"\1\3\1",
    "kind 0": b"\1\0\1",
    "twice": b"\2\1\1\1\1",
    "descending": b"\2\2\1\1\1",
    "empty": b"\1\1\0",
    "too long": b"\1\1" + b"\x80" * 6 + b"\x01",
}


@pytest.mark.parametrize("name", ATTACHED)
def test_invalid_attachments_with_a_right_checksum(name):
    data = bytearray(AUDIO.to_bytes()[:-4])
    data[5] |= 8
    assert read_header(with_checksum(bytes(data) + b"\1\1\5")) == replace(AUDIO, attachments=(("alpha", 5),))
    with pytest.raises(DamagedStream):
        read_header(with_checksum(bytes(data) + ATTACHED[name]))


@pytest.mark.parametrize("character", ["\n", "\0", "\x7f", "\x9b", "\u2028", "\u202e", "\u200b", "\ufeff"])
def test_names_hold_no_control_characters(character):
    with pytest.raises(InputError, match="expected a model name"):
        replace(AUDIO, model=f"a{character}b")


@pytest.mark.parametrize("header", [AUDIO, IMAGE, VIDEO, LONG, BOTH, replace(IMAGE, radices=((4096,),) * 320)])
def test_headers_show_themselves_on_a_short_line(header):
    assert len(repr(header)) < 200
    assert header.model in repr(header)
    assert str(header.shape) in repr(header)
