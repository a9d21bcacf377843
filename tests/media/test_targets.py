"""Writing to binary file objects, and the format of an output."""

import io
import os

import numpy as np
import pytest

from narrows.errors import InputError, MediaError
from narrows.media import audio, image
from narrows.media.targets import suffix_of

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 20, 30), np.uint8)


def written(form, **options):
    """What `form`, a function of a target and options that writes, writes to a BytesIO."""
    file = io.BytesIO()
    form(file, **options)
    assert not file.closed
    return file.getvalue()


def test_audio_to_a_file_object_equals_the_file(tmp_path, noise):
    for format in ("wav", "flac", "mp3"):
        audio.write(tmp_path / f"a.{format}", noise, 24_000)
        data = written(lambda file, format: audio.write(file, noise, 24_000, format=format), format=format)
        assert np.array_equal(audio.read(data).samples, audio.read(tmp_path / f"a.{format}").samples)
        if format != "flac":  # its header holds no times or random numbers
            assert data == (tmp_path / f"a.{format}").read_bytes()


@pytest.mark.parametrize("format", ["png", "webp", "jpg", "tif", "bmp", "avif", "PNG"])
def test_images_to_a_file_object_equal_the_file(tmp_path, format):
    image.write(tmp_path / f"a.{format}", PIXELS)
    assert (tmp_path / f"a.{format}").read_bytes() == written(image.write, pixels=PIXELS, format=format)


def test_file_objects_are_written_from_their_position():
    file = io.BytesIO(b"before, and more")
    file.seek(6)
    image.write(file, PIXELS, format="png")
    assert file.getvalue()[:6] == b"before"
    file.seek(6)
    assert np.array_equal(image.read(file).pixels, PIXELS)


def test_raw_files_and_files_without_seek(tmp_path):
    class OnlyWrite:
        def __init__(self):
            self.data = b""

        def write(self, data):
            self.data += bytes(data)

    class Slow(io.RawIOBase):
        """Takes a few bytes at a time."""

        def __init__(self):
            super().__init__()
            self.data = b""

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data[:100])
            return min(100, len(data))

    for file in (OnlyWrite(), Slow()):
        image.write(file, PIXELS, format="png")
        assert np.array_equal(image.read(file.data).pixels, PIXELS)
    read_end, write_end = os.pipe()
    with open(write_end, "wb") as pipe:
        audio.write(pipe, np.zeros((1, 100), np.float32), 8000, format="wav")
    with open(read_end, "rb") as pipe:
        assert audio.read(pipe).samples.shape == (1, 100)


def test_a_failed_write_leaves_the_file_object_unchanged(tmp_path, noise):
    file = io.BytesIO(b"as before")

    def interrupted():
        yield noise
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audio.write(file, interrupted(), 24_000, format="wav")
    for wrong, given in ((InputError, noise * np.nan), (InputError, noise[:, :0])):
        with pytest.raises(wrong):
            audio.write(file, given, 24_000, format="flac")
    with pytest.raises(InputError):
        image.write(file, PIXELS, alpha=PIXELS[0], format="jpg")
    with pytest.raises(MediaError):
        image.write(file, np.zeros((3, 1, 16_384), np.uint8), format="webp")
    assert file.getvalue() == b"as before"
    assert file.tell() == 0


def test_no_temporary_file_is_left(tmp_path, monkeypatch, noise):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    audio.write(io.BytesIO(), noise, 24_000, format="wav")
    with pytest.raises(InputError):
        audio.write(io.BytesIO(), noise * np.nan, 24_000, format="wav")
    assert os.listdir(tmp_path) == []


def test_a_full_disk_and_other_failures_are_one_line(noise):
    class Failing:
        def write(self, data):
            raise RuntimeError("the other side\nis gone")

    with open("/dev/full", "wb", buffering=0) as raw, open("/dev/full", "wb") as buffered:
        for file in (raw, buffered, Failing()):
            with pytest.raises(MediaError, match="could not be written to its end") as caught:
                audio.write(file, noise, 24_000, format="wav")
            assert "\n" not in str(caught.value)


def test_formats(tmp_path):
    known = (".wav", ".flac")
    assert suffix_of("a.WAV", None, known) == ".wav"
    assert suffix_of("a.wav", "wav", known) == ".wav"
    assert suffix_of(io.BytesIO(), "flac", known) == ".flac"
    closed = io.BytesIO()
    closed.close()
    for target, format, message in (
        ("a.wav", "flac", "expected the format of the suffix of 'a.wav', got 'flac'; leave it out"),
        ("a", "wav", "expected one of the suffixes .wav, .flac, got none in 'a'"),
        ("a.xyz", None, "expected one of the suffixes .wav, .flac, got .xyz"),
        (io.BytesIO(), None, "expected a format .flac, wav. for 'the given file', got none; give format='wav'"),
        (io.BytesIO(), ".wav", "expected one of the formats flac, wav, got '.wav'"),
        (io.BytesIO(), 3, "expected one of the formats flac, wav, got 3"),
        (io.StringIO(), "wav", 'opened as text; open it with mode "wb"'),
        (closed, "wav", "expected an open file, got 'the given file', which is closed"),
        (io.BufferedReader(io.BytesIO()), "wav", "opened for reading"),
        (b"a.wav", "wav", "expected a path or a binary file to write to, got b'a.wav'"),
        (None, "wav", "expected a path or a binary file to write to, got None"),
    ):
        with pytest.raises(InputError, match=message):
            suffix_of(target, format, known)


@pytest.mark.parametrize("format", ["png", "wav"])
def test_what_a_short_write_leaves_is_written_too(format):
    class Short:
        """Takes as many bytes as it says."""

        def __init__(self, count):
            self.count, self.data = count, b""

        def write(self, data):
            taken = self.count(data)
            self.data += data[:taken] if type(taken) is int else data
            return taken

    def write(file):
        if format == "png":
            image.write(file, PIXELS, format="png")
        else:
            audio.write(file, np.zeros((1, 99_999), np.float32), 8000, format="wav")

    write(whole := io.BytesIO())
    for count in (lambda data: 777 if len(data) > 777 else len(data), len, lambda data: None):
        write(short := Short(count))
        assert short.data == whole.getvalue()
    for wrong in (0, -1, 10**9, True, "5", 1.0):
        with pytest.raises(MediaError, match=r"could not be written to its end .its write returned"):
            write(Short(lambda data, wrong=wrong: wrong))


def test_a_write_that_is_a_coroutine_is_refused():
    class Response:
        async def write(self, data):
            pass

    with pytest.raises(MediaError, match=r"its write returned <coroutine"):
        image.write(Response(), PIXELS, format="png")
