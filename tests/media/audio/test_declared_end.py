import struct

import numpy as np
import pytest
import soundfile

from narrows.media.audio.declared_end import declared_end, mpeg_format, ogg_pages
from narrows.media.audio.tags import after_tags

RATE = 48_000


@pytest.fixture
def ends(tmp_path):
    """ends(bytes) -> their declared end."""

    def of(data: bytes) -> int | None:
        (tmp_path / "bytes").write_bytes(data)
        with open(tmp_path / "bytes", "rb", buffering=0) as file:
            return declared_end(file, len(data), after_tags(file))

    return of


def wave(data_size: int, riff_size: int, samples: bytes = bytes(400), tail: bytes = b"") -> bytes:
    shape = struct.pack("<IHHIIHH", 16, 1, 2, RATE, RATE * 4, 4, 16)
    head = b"RIFF" + struct.pack("<I", riff_size) + b"WAVEfmt " + shape + b"data" + struct.pack("<I", data_size)
    return head + samples + tail


@pytest.mark.parametrize(
    ("suffix", "format", "subtype"),
    [
        ("wav", "WAV", "PCM_16"),
        ("wav", "RF64", "PCM_16"),
        ("wav", "WAVEX", "FLOAT"),
        ("w64", "W64", "PCM_16"),
        ("aiff", "AIFF", "PCM_16"),
        ("au", "AU", "PCM_16"),
        ("caf", "CAF", "PCM_16"),
        ("ogg", "OGG", "VORBIS"),
        ("opus", "OGG", "OPUS"),
        ("mp3", "MP3", "MPEG_LAYER_III"),
    ],
)
def test_complete_files_end_at_their_declared_end(tmp_path, ends, noise, suffix, format, subtype):
    soundfile.write(tmp_path / "a", noise.T, RATE, format=format, subtype=subtype)
    data = (tmp_path / "a").read_bytes()
    end = ends(data)
    assert end is not None
    assert len(data) - 64 <= end <= len(data)  # WAVEX and W64 may close with a small chunk
    assert ends(data[: end - 1000]) > end - 1000


def test_appended_bytes_do_not_move_the_end(ends):
    assert ends(wave(400, 436, tail=b"LIST\4\0\0\0junk")) == 444


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0xFFFFFFDB, 0x7FFFF000, 0x7FFFFFFF, 0x80000000])
def test_placeholders_declare_no_end(ends, size):
    assert ends(wave(size, size)) is None


def test_a_zero_length_counts_only_where_the_header_agrees(ends):
    assert ends(wave(0, 0)) is None
    assert ends(wave(0, 36, b"")) == 44


def test_a_length_is_rounded_down_to_whole_samples(ends):
    assert ends(wave(403, 439)) == 444


def test_mp3_after_a_tag(tmp_path, ends, noise):
    soundfile.write(tmp_path / "a.mp3", noise.T, RATE)
    data = (tmp_path / "a.mp3").read_bytes()
    tag = b"ID3\4\0\0\0\0\2\1" + bytes(257)
    assert ends(data) == len(data)
    assert ends(tag + data) == len(tag) + len(data)
    (tmp_path / "b").write_bytes(tag + data + b"\xff\xf1")
    with open(tmp_path / "b", "rb", buffering=0) as file:
        assert mpeg_format(file, len(tag)) == "mp3"
        assert mpeg_format(file, len(tag + data)) == "aac"
        assert mpeg_format(file, 300_000) is None


def test_streams_of_an_ogg_are_counted(tmp_path, noise):
    soundfile.write(tmp_path / "a.ogg", noise.T, RATE)
    data = (tmp_path / "a.ogg").read_bytes()
    for copies in (0, 1, 3):
        (tmp_path / "b").write_bytes(data * copies)
        with open(tmp_path / "b", "rb", buffering=0) as file:
            assert ogg_pages(file, 0).streams == copies


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"R",
        b"RIFF",
        b"\x1aE\xdf\xa3",
        b"\x1aE\xdf\xa3\0\0\0\0\0\0\0\0\0",
        b"\0\0\0\x20ftyp",
        b"ID3",
        b"\xff\xfb",
        b"text\n",
        b"caff\0\1\0\0free" + b"\xff" * 8,
    ],
)
def test_incomplete_headers_do_no_harm(ends, data):
    assert ends(data) is None or ends(data) >= 0


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_after_a_header_do_no_harm(ends, seed):
    junk = np.random.default_rng(seed).bytes(300)
    for head in (
        b"RIFF",
        b"RF64",
        b"FORM",
        b"caff",
        b"riff",
        b".snd",
        b"OggS",
        b"\x1aE\xdf\xa3",
        b"\0\0\1\0ftyp",
        b"\xff\xfb",
    ):
        end = ends(head + junk)
        assert end is None or end >= 0
