import io

import numpy as np
import pytest
import soundfile

from narrows.errors import InputError
from narrows.media import audio, image
from narrows.media.files import MemoryFile, open_input, quoted

RATE = 24_000


def both(path):
    """The file, and the same bytes in memory."""
    return path, MemoryFile("member", path.read_bytes())


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "AIFF", "CAF", "MP3"])
def test_audio_in_memory_equals_the_file(tmp_path, noise, format):
    soundfile.write(tmp_path / "a", noise.T, RATE, format=format)
    file, memory = both(tmp_path / "a")
    assert audio.probe(memory) == audio.probe(file)
    for _ in range(2):  # it can be read as often as a file
        assert np.array_equal(audio.read(memory).samples, audio.read(file).samples)
    assert np.array_equal(np.hstack(list(audio.blocks(memory, 1_000))), audio.read(file).samples)


@pytest.mark.parametrize(
    ("codec", "container"), [("aac", "ipod"), ("aac", "adts"), ("libopus", "matroska"), ("libopus", "ogg")]
)
def test_audio_of_ffmpeg_in_memory_equals_the_file(tmp_path, noise, encode, codec, container):
    encode(tmp_path / "a", noise, 48_000, codec, container)
    file, memory = both(tmp_path / "a")
    assert audio.probe(memory) == audio.probe(file)
    assert np.array_equal(audio.read(memory).samples, audio.read(file).samples)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
def test_an_image_in_memory_equals_the_file(tmp_path, suffix):
    image.write(tmp_path / f"a{suffix}", np.random.default_rng(0).integers(0, 256, (3, 20, 30), np.uint8))
    file, memory = both(tmp_path / f"a{suffix}")
    assert image.probe(memory) == image.probe(file)
    assert np.array_equal(image.read(memory).pixels, image.read(file).pixels)


@pytest.mark.parametrize("read", [audio.probe, audio.read, image.probe, image.read])
@pytest.mark.parametrize("data", [b"", b"no medium at all" * 9])
def test_errors_name_the_file_in_memory(error_message, read, data):
    assert "'a member\\n of.tar'" in error_message(read, MemoryFile("a member\n of.tar", data))


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG"])
def test_cut_audio_in_memory(noise, error_message, format):
    whole = io.BytesIO()
    soundfile.write(whole, noise.T, RATE, format=format)
    half = MemoryFile("half", whole.getvalue()[: len(whole.getvalue()) // 2])
    assert "'half' is " in error_message(audio.read, half)


def test_each_opening_starts_at_the_first_byte():
    memory = MemoryFile("twice", b"abc")
    with open_input(memory) as one, open_input(memory) as other:
        assert one.read(2) == b"ab"
        assert other.read() == b"abc"
    assert open_input(memory).read() == b"abc"
    assert quoted(memory) == "'twice'"


@pytest.mark.parametrize("path", [None, 3, b"a.wav", io.BytesIO(b"RIFF"), ["a.wav"]])
@pytest.mark.parametrize("read", [open_input, audio.read, audio.probe, image.read, image.probe])
def test_objects_that_are_no_paths_are_rejected(read, path):
    with pytest.raises(InputError, match="expected a path, got "):
        read(path)
