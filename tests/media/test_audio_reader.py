import errno
import io
import os
import struct
from contextlib import suppress

import numpy as np
import pytest
import soundfile

from narrows.errors import InputError, MediaError
from narrows.media import audio, files
from narrows.media.audio import AudioReader

RATE = 24_000


def sound(noise, format, subtype=None, rate=RATE):
    """A file of sound as bytes."""
    file = io.BytesIO()
    soundfile.write(file, noise.T, rate, format=format, subtype=subtype)
    return file.getvalue()


def wave(data: bytes, *, bits=16, channels=1, rate=RATE, code=1, data_size=None, riff_size=None):
    """A WAV, byte by byte, with whatever its header is to claim."""
    frame = channels * bits // 8
    shape = struct.pack("<IHHIIHH", 16, code, channels, rate, rate * frame, frame, bits)
    size = len(data) if data_size is None else data_size
    riff = 36 + len(data) if riff_size is None else riff_size
    return b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + shape + b"data" + struct.pack("<I", size) + data


@pytest.mark.parametrize(
    ("format", "subtype", "exact"),
    [
        ("WAV", "PCM_U8", 2**-7),
        ("WAV", "PCM_16", 2**-15),
        ("WAV", "PCM_24", 2**-23),
        ("WAV", "PCM_32", 2**-24),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("WAV", "ULAW", 0.02),
        ("RF64", "PCM_16", 2**-15),
        ("W64", "PCM_16", 2**-15),
        ("AIFF", "PCM_24", 2**-23),
        ("AU", "FLOAT", 0),
        ("CAF", "ALAC_16", 2**-15),
        ("FLAC", "PCM_24", 2**-23),
        ("OGG", "VORBIS", 0.2),
        ("OGG", "OPUS", 0.2),
        ("MP3", "MPEG_LAYER_III", 0.2),
    ],
)
def test_formats_are_known_by_content(tmp_path, noise, format, subtype, exact):
    (tmp_path / "wrong.raw").write_bytes(sound(noise, format, subtype))
    with AudioReader(tmp_path / "wrong.raw") as reader:
        assert (reader.sample_rate, reader.channels) == (RATE, 2)
        block = reader.read(50_000)
    assert block.shape == noise.shape
    assert np.abs(block - noise).max() <= exact


@pytest.mark.parametrize(("bits", "middle"), [(8, 128), (16, 0), (24, 0), (32, 0)])
def test_integers_scale_to_one(tmp_path, bits, middle):
    half = 2 ** (bits - 1)
    values = [-half, 0, half // 2, half - 1]
    data = b"".join((value + middle).to_bytes(bits // 8, "little", signed=not middle) for value in values)
    (tmp_path / "a.wav").write_bytes(wave(data, bits=bits))
    expected = np.float32([-1, 0, 0.5, (half - 1) / half])
    assert np.array_equal(audio.read(tmp_path / "a.wav").samples[0], expected)


@pytest.mark.parametrize("channels", [1, 3, 8, 64])
def test_channels_stay_in_order(tmp_path, channels):
    values = np.arange(channels * 10, dtype=np.int16).reshape(10, channels)
    (tmp_path / "a.wav").write_bytes(wave(values.tobytes(), channels=channels))
    assert np.array_equal(audio.read(tmp_path / "a.wav").samples * 2**15, values.T)


def test_too_many_channels_are_refused(tmp_path, refusal):
    (tmp_path / "a.wav").write_bytes(wave(bytes(650), channels=65))
    assert "a.wav' has 65 channels, and 1 to 64 are possible" in refusal(audio.probe, tmp_path / "a.wav")


@pytest.mark.parametrize("rate", [1_000, 11_025, 384_000])
def test_rates_in_range_are_taken(tmp_path, rate):
    (tmp_path / "a.wav").write_bytes(wave(bytes(100), rate=rate))
    assert audio.probe(tmp_path / "a.wav").sample_rate == rate


@pytest.mark.parametrize("rate", [1, 999, 384_001, 1_000_000_000])
def test_other_rates_are_refused(tmp_path, refusal, rate):
    (tmp_path / "a.wav").write_bytes(wave(bytes(100), rate=rate))
    line = refusal(audio.read, tmp_path / "a.wav")
    assert f"sample rate of {rate} Hz" in line
    assert "1000 to 384000 Hz" in line
    assert "resample" in line


def test_what_is_not_there_is_refused(tmp_path, refusal):
    assert f"there is no file '{tmp_path}/a.wav'" in refusal(audio.read, tmp_path / "a.wav")
    line = refusal(audio.read, tmp_path / "in" / "this" / "a.wav")
    assert f"nor a folder '{tmp_path}/in'" in line
    assert "check the path" in line
    assert "null" in refusal(audio.read, "a\0.wav")
    assert r"'no\nsuch.wav'" in refusal(audio.read, "no\nsuch.wav")


def test_what_is_no_file_is_refused(tmp_path, refusal):
    os.mkfifo(tmp_path / "pipe")
    assert "is a folder; give one of the files in it" in refusal(audio.read, tmp_path)
    assert "is a pipe or a device" in refusal(audio.read, tmp_path / "pipe")


def test_a_closed_file_is_refused(tmp_path, refusal, monkeypatch):
    def closed(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "a.wav").write_bytes(wave(bytes(100)))
    (tmp_path / "a.wav").chmod(0)
    if os.geteuid() == 0:  # root may read everything
        monkeypatch.setattr(files, "open", closed, raising=False)
    line = refusal(audio.read, tmp_path / "a.wav")
    assert "may not be read by this user" in line
    assert "chmod +r" in line


def test_files_without_sound_are_refused(tmp_path, refusal, encode):
    (tmp_path / "empty.wav").touch()
    assert "is empty (0 bytes)" in refusal(audio.read, tmp_path / "empty.wav")
    (tmp_path / "text.wav").write_text("Dear diary,\n" * 100)
    line = refusal(audio.read, tmp_path / "text.wav")
    assert "text.wav' is no sound that can be decoded" in line
    assert "wanted is WAV, FLAC" in line
    (tmp_path / "random.mp3").write_bytes(np.random.default_rng(0).bytes(10_000))
    assert "is no sound that can be decoded" in refusal(audio.read, tmp_path / "random.mp3")
    (tmp_path / "random.mp3").write_bytes(b"\xff\xfb" + np.random.default_rng(0).bytes(10_000))
    assert "is no sound that can be decoded" in refusal(audio.read, tmp_path / "random.mp3")


def test_playlists_are_not_followed(tmp_path, refusal):
    (tmp_path / "a.wav").write_bytes(wave(bytes(100)))
    for text in (f"ffconcat version 1.0\nfile {tmp_path}/a.wav\n", f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/a.wav\n"):
        (tmp_path / "list.wav").write_text(text)
        assert "is no sound that can be decoded" in refusal(audio.read, tmp_path / "list.wav")


@pytest.mark.parametrize("format", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF", "OGG"])
def test_files_of_no_samples_are_refused(tmp_path, refusal, format):
    (tmp_path / "a").write_bytes(sound(np.zeros((1, 0)), format))
    for call in (audio.read, audio.probe):
        assert "holds no samples; give a file of one sample or more" in refusal(call, tmp_path / "a")


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0x80000000, 0])
@pytest.mark.parametrize("list_chunk", [False, True])
def test_lengths_of_pipes_are_read_to_the_end(tmp_path, size, list_chunk):
    data = wave(bytes(range(200)), data_size=size, riff_size=size)
    if list_chunk:  # as ffmpeg writes to a pipe
        data = data[:36] + b"LIST\x1a\0\0\0INFOISFT\x0e\0\0\0Lavf62.12.100\0" + data[36:]
    (tmp_path / "a.wav").write_bytes(data)
    back = audio.read(tmp_path / "a.wav").samples
    assert np.array_equal(back[0] * 2**15, np.frombuffer(bytes(range(200)), "<i2"))
    assert audio.probe(tmp_path / "a.wav").samples == 100


@pytest.mark.parametrize("size", [202, 3_000_000_000])
def test_a_length_beyond_the_file_is_refused(tmp_path, refusal, size):
    (tmp_path / "a.wav").write_bytes(wave(bytes(200), data_size=size))
    line = refusal(audio.probe, tmp_path / "a.wav")
    assert f"is cut: it tells of {size + 44} bytes and 244 are there" in line
    assert "ffmpeg -i FILE OTHER.wav" in line


def test_a_flac_without_a_length_is_read(tmp_path, noise):
    data = bytearray(sound(noise, "FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)
    assert np.abs(audio.read(tmp_path / "a.flac").samples - noise).max() <= 2**-15
    assert audio.probe(tmp_path / "a.flac").samples == 30_000


def test_a_flac_that_promises_too_much_is_refused(tmp_path, noise, refusal):
    data = bytearray(sound(noise, "FLAC"))
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4  # 68 billion samples
    (tmp_path / "a.flac").write_bytes(data)
    assert "is cut after 30000 samples (1.25 s) of 68719476735" in refusal(audio.read, tmp_path / "a.flac")


CUT = ["WAV", "FLAC", "AIFF", "AU", "CAF", "W64", "OGG", "MP3"]


@pytest.mark.parametrize("format", CUT)
@pytest.mark.parametrize("part", [0.3, 0.99])
def test_cut_files_are_refused(tmp_path, noise, refusal, format, part):
    data = sound(noise, format)
    (tmp_path / "a").write_bytes(data[: int(part * len(data))])
    line = refusal(audio.read, tmp_path / "a")
    assert "cut" in line
    assert "get the whole file again" in line


@pytest.mark.parametrize("format", CUT)
def test_files_cut_while_they_are_read_are_refused(tmp_path, noise, refusal, format):
    (tmp_path / "a").write_bytes(sound(np.tile(noise, 10), format))
    with AudioReader(tmp_path / "a") as reader:
        assert reader.read(1_000).shape == (2, 1_000)
        os.truncate(tmp_path / "a", (tmp_path / "a").stat().st_size // 2)
        assert "cut" in refusal(reader.read, 300_000)


def test_a_deleted_file_is_read_on(tmp_path, noise):
    (tmp_path / "a").write_bytes(sound(noise, "FLAC"))
    with AudioReader(tmp_path / "a") as reader:
        (tmp_path / "a").unlink()
        assert reader.read(50_000).shape == (2, 30_000)


def test_damage_in_the_middle_is_refused(tmp_path, noise, refusal):
    data = bytearray(sound(noise, "FLAC"))
    data[40_000] ^= 1
    (tmp_path / "a.flac").write_bytes(data)
    assert "damaged or cut some time after" in refusal(audio.read, tmp_path / "a.flac")
    with AudioReader(tmp_path / "a.flac") as reader:
        refusal(reader.read, 30_000)
        assert "was closed already" in refusal(reader.read, 30_000, error=InputError)
    data = bytearray(sound(noise, "MP3"))
    data[4_000:6_000] = bytes(2_000)
    (tmp_path / "a.mp3").write_bytes(data)
    assert "damaged or cut some time after" in refusal(audio.read, tmp_path / "a.mp3")


@pytest.mark.parametrize("seed", range(3))
def test_damage_is_never_printed(tmp_path, noise, capfd, seed):
    generator = np.random.default_rng(seed)
    for format in ("MP3", "FLAC", "OGG", "CAF"):
        data = bytearray(sound(noise[:, :9_000], format))
        for place in generator.integers(len(data), size=40):
            data[place] ^= 1 << int(generator.integers(8))
        (tmp_path / "a").write_bytes(data)
        with suppress(MediaError):
            audio.read(tmp_path / "a")
    assert capfd.readouterr() == ("", "")


def test_several_ogg_streams_are_all_read(tmp_path, noise):
    (tmp_path / "a.opus").write_bytes(sound(noise, "OGG", "OPUS", 48_000) * 2)
    assert audio.read(tmp_path / "a.opus").samples.shape == (2, 60_000)


def test_reading_on_and_beyond(tmp_path, noise, refusal):
    (tmp_path / "a").write_bytes(sound(noise, "FLAC"))
    with AudioReader(tmp_path / "a") as reader:
        assert reader.samples == 30_000
        assert [reader.read(20_000).shape[1] for _ in range(4)] == [20_000, 10_000, 0, 0]
        assert "ask for 1 or more" in refusal(reader.read, 0, error=InputError)
    assert "was closed already" in refusal(reader.read, 1, error=InputError)
    reader.close()
