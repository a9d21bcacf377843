import gzip
import io
import mmap
import tempfile

import numpy as np
import pytest
import soundfile

from narrows.errors import InputError, MediaError
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


@pytest.mark.parametrize("path", [None, 3, ["a.wav"], np.zeros(5), str, 1j])
@pytest.mark.parametrize("read", [open_input, audio.read, audio.probe, image.read, image.probe, audio.AudioReader])
def test_objects_that_are_no_sources_are_rejected(read, path):
    with pytest.raises(InputError, match="expected a path, bytes or a binary file, got ") as caught:
        read(path)
    assert "\n" not in str(caught.value)


class OnlyRead:
    """A file object that can only be read, like a response."""

    def __init__(self, data):
        self._file = io.BytesIO(data)

    def read(self, size=-1):
        return self._file.read(size)


class Raising:
    name = "upload.wav"

    def __init__(self, error):
        self._error = error

    def read(self, size=-1):
        raise self._error


def mapped(data):
    memory = mmap.mmap(-1, len(data))
    memory[:] = data
    return memory


FORMS = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "mmap": mapped,
    "BytesIO": io.BytesIO,
    "without seek": OnlyRead,
    "buffered": lambda data: io.BufferedReader(io.BytesIO(data)),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_bytes_and_file_objects_are_read_as_files(tmp_path, noise, form):
    audio.write(tmp_path / "a.wav", noise, RATE)
    sound = (tmp_path / "a.wav").read_bytes()
    image.write(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (3, 20, 30), np.uint8))
    photo = (tmp_path / "a.png").read_bytes()
    assert audio.probe(form(sound)) == audio.probe(tmp_path / "a.wav")
    assert np.array_equal(audio.read(form(sound)).samples, audio.read(tmp_path / "a.wav").samples)
    assert np.array_equal(np.hstack(list(audio.blocks(form(sound), 999))), audio.read(tmp_path / "a.wav").samples)
    assert image.probe(form(photo)) == image.probe(tmp_path / "a.png")
    assert np.array_equal(image.read_opaque(form(photo)).pixels, image.read(tmp_path / "a.png").pixels)


def test_spooled_files(tmp_path):
    """`UploadFile.file` of FastAPI is one."""
    image.write(tmp_path / "a.png", np.zeros((1, 20, 30), np.uint8))
    for size in (0, 9):  # in memory, and on the disk
        with tempfile.SpooledTemporaryFile(size) as file:
            file.write((tmp_path / "a.png").read_bytes())
            file.seek(0)
            assert image.read(file).pixels.shape == (1, 20, 30)
            with pytest.raises(MediaError, match="'the given file' is empty"):
                image.read(file)


def test_audio_of_ffmpeg_from_a_file_object(tmp_path, noise, encode):
    encode(tmp_path / "a", noise, 48_000, "aac", "ipod")
    expected = audio.read(tmp_path / "a").samples
    with open(tmp_path / "a", "rb") as file:
        assert np.array_equal(audio.read(file).samples, expected)
    assert np.array_equal(audio.read(OnlyRead((tmp_path / "a").read_bytes())).samples, expected)


def test_file_objects_are_read_from_their_position_and_stay_open(tmp_path):
    image.write(tmp_path / "a.png", np.zeros((1, 2, 3), np.uint8))
    file = io.BytesIO(b"before" + (tmp_path / "a.png").read_bytes())
    file.seek(6)
    assert image.read(file).pixels.shape == (1, 2, 3)
    assert not file.closed
    assert file.tell() == len(file.getvalue())


@pytest.mark.parametrize("read", [audio.read, audio.probe, image.read, image.probe])
def test_errors_of_bytes_and_file_objects(tmp_path, read):
    (tmp_path / "a.txt").write_text("no medium")
    closed = io.BytesIO(b"RIFF")
    closed.close()
    cases = [
        (b"", MediaError, "'the given bytes' is empty"),
        (b"no medium at all" * 9, MediaError, "got 'the given bytes'"),
        (io.BytesIO(), MediaError, "'the given file' is empty"),
        (OnlyRead(b"no medium at all" * 9), MediaError, "got 'the given file'"),
        (closed, InputError, "expected an open file, got 'the given file', which is closed"),
        (io.StringIO("RIFF"), InputError, 'opened as text; open it with mode "rb"'),
        (OnlyRead.__new__(OnlyRead), MediaError, "cannot be read"),
        (Raising(OSError(5, "Input/output error")), MediaError, "'upload.wav' cannot be read .input/output error"),
        (Raising(RuntimeError("lost\nthe line")), MediaError, "'upload.wav' cannot be read .lost the line"),
        (Raising(MemoryError()), MediaError, "not enough memory for 'upload.wav'"),
        ("R" * 5000, InputError, "expected a path, got a text of 5000 characters"),
        ("RIFF\0WAVE", InputError, "expected a path, got a text of 9 characters"),
    ]
    for source, kind, message in cases:
        with pytest.raises(kind, match=message) as caught:
            read(source)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400
    with open(tmp_path / "a.txt") as text, pytest.raises(InputError, match=r"a\.txt', which is opened as text"):
        read(text)
    with open(tmp_path / "b", "wb") as out, pytest.raises(MediaError, match="b' cannot be read"):
        read(out)


def test_files_whose_read_is_no_bytes():
    class Text:
        def read(self, size=-1):
            return "RIFF"

    class Upload:
        filename = "a.wav"

        async def read(self, size=-1):
            return b"RIFF"

    with pytest.raises(InputError, match="expected a file whose read gives bytes, got str"):
        audio.read(Text())
    with pytest.raises(InputError, match=r"got 'a\.wav' of type Upload; give its attribute file"):
        audio.read(Upload())


def test_ctrl_c_in_a_file_object_is_passed_on():
    with pytest.raises(KeyboardInterrupt):
        audio.read(Raising(KeyboardInterrupt()))


@pytest.mark.parametrize("error", [TimeoutError("timed out"), ConnectionResetError(104, "Connection reset by peer")])
def test_only_a_wrong_mode_is_told_to_open_again(error_message, tmp_path, error):
    assert "'upload.wav' cannot be read" in (message := error_message(audio.read, Raising(error)))
    assert "mode" not in message
    with open(tmp_path / "b", "wb") as out:
        assert 'open it again with mode "rb"' in error_message(audio.read, out)


def test_names_of_file_objects(noise):
    """Warnings are errors here: GzipFile warns of its attribute `filename`."""
    audio.write(whole := io.BytesIO(), noise, RATE, format="wav")
    with gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(whole.getvalue()))) as file:
        assert np.array_equal(audio.read(file).samples, audio.read(whole.getvalue()).samples)
