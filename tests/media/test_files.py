import io

import numpy as np
import pytest
import soundfile

from narrows.media import audio, image
from narrows.media.files import MemoryFile, open_input, shown

RATE = 24_000


def both(path):
    """The file, and the same bytes in memory."""
    return path, MemoryFile("member", path.read_bytes())


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "AIFF", "CAF", "MP3"])
def test_sound_in_memory_is_that_of_the_file(tmp_path, noise, format):
    soundfile.write(tmp_path / "a", noise.T, RATE, format=format)
    file, memory = both(tmp_path / "a")
    assert audio.probe(memory) == audio.probe(file)
    for _ in range(2):  # it can be read as often as a file
        assert np.array_equal(audio.read(memory).samples, audio.read(file).samples)
    assert np.array_equal(np.hstack(list(audio.blocks(memory, 1_000))), audio.read(file).samples)


@pytest.mark.parametrize(
    ("codec", "container"), [("aac", "ipod"), ("aac", "adts"), ("libopus", "matroska"), ("libopus", "ogg")]
)
def test_sound_of_ffmpeg_in_memory_is_that_of_the_file(tmp_path, noise, encode, codec, container):
    encode(tmp_path / "a", noise, 48_000, codec, container)
    file, memory = both(tmp_path / "a")
    assert audio.probe(memory) == audio.probe(file)
    assert np.array_equal(audio.read(memory).samples, audio.read(file).samples)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
def test_a_picture_in_memory_is_that_of_the_file(tmp_path, suffix):
    image.write(tmp_path / f"a{suffix}", np.random.default_rng(0).integers(0, 256, (3, 20, 30), np.uint8))
    file, memory = both(tmp_path / f"a{suffix}")
    assert image.probe(memory) == image.probe(file)
    assert np.array_equal(image.read(memory).pixels, image.read(file).pixels)


@pytest.mark.parametrize("read", [audio.probe, audio.read, image.probe, image.read])
@pytest.mark.parametrize("data", [b"", b"no medium at all" * 9])
def test_errors_name_what_is_in_memory(refusal, read, data):
    assert "'a member\\n of.tar'" in refusal(read, MemoryFile("a member\n of.tar", data))


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG"])
def test_cut_sound_in_memory_is_refused(noise, refusal, format):
    whole = io.BytesIO()
    soundfile.write(whole, noise.T, RATE, format=format)
    assert "'half' is " in refusal(audio.read, MemoryFile("half", whole.getvalue()[: whole.tell() // 2]))


def test_bytes_in_memory_are_opened_anew_each_time():
    memory = MemoryFile("twice", b"abc")
    with open_input(memory) as one, open_input(memory) as other:
        assert one.read(2) == b"ab"
        assert other.read() == b"abc"
    assert open_input(memory).read() == b"abc"
    assert shown(memory) == "'twice'"
