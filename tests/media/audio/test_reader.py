import errno
import io
import os
import struct
from contextlib import ExitStack, suppress

import numpy as np
import pytest
import soundfile

from narrows.errors import InputError, MediaError
from narrows.media import audio, files
from narrows.media.audio import AudioReader

RATE = 24_000


def encoded(noise, format, subtype=None, rate=RATE):
    """An audio file as bytes."""
    file = io.BytesIO()
    soundfile.write(file, noise.T, rate, format=format, subtype=subtype)
    return file.getvalue()


def wave(data: bytes, *, bits=16, channels=1, rate=RATE, code=1, data_size=None, riff_size=None):
    """The bytes of a WAV whose header may state other sizes."""
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
def test_formats_are_recognised_by_content(tmp_path, noise, format, subtype, exact):
    (tmp_path / "wrong.raw").write_bytes(encoded(noise, format, subtype))
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


def test_too_many_channels(tmp_path, error_message):
    (tmp_path / "a.wav").write_bytes(wave(bytes(650), channels=65))
    assert "expected 1 to 64 channels, got 65 in " in error_message(audio.probe, tmp_path / "a.wav")


@pytest.mark.parametrize("rate", [1_000, 11_025, 384_000])
def test_sample_rates_in_range(tmp_path, rate):
    (tmp_path / "a.wav").write_bytes(wave(bytes(100), rate=rate))
    assert audio.probe(tmp_path / "a.wav").sample_rate == rate


@pytest.mark.parametrize("rate", [1, 999, 384_001, 1_000_000_000])
def test_sample_rates_out_of_range(tmp_path, error_message, rate):
    (tmp_path / "a.wav").write_bytes(wave(bytes(100), rate=rate))
    line = error_message(audio.read, tmp_path / "a.wav")
    assert f"expected a sample rate from 1000 to 384000 Hz, got {rate} Hz in " in line
    assert "resample" in line


def test_missing_files(tmp_path, error_message):
    assert f"there is no file '{tmp_path}/a.wav'" in error_message(audio.read, tmp_path / "a.wav")
    line = error_message(audio.read, tmp_path / "in" / "this" / "a.wav")
    assert f"nor a folder '{tmp_path}/in'" in line
    assert "check the path" in line
    with pytest.raises(InputError, match=r"expected a path, got a text of 6 characters: 'a.x00.wav'"):
        audio.read("a\0.wav")
    assert r"'no\nsuch.wav'" in error_message(audio.read, "no\nsuch.wav")


def test_folders_and_pipes(tmp_path, error_message):
    os.mkfifo(tmp_path / "pipe")
    assert "which is a folder; give one of the files in it" in error_message(audio.read, tmp_path)
    assert "which is a pipe or a device" in error_message(audio.read, tmp_path / "pipe")


def test_a_file_without_read_permission(tmp_path, error_message, monkeypatch):
    def not_permitted(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "a.wav").write_bytes(wave(bytes(100)))
    (tmp_path / "a.wav").chmod(0)
    if os.geteuid() == 0:  # root may read everything
        monkeypatch.setattr(files, "open", not_permitted, raising=False)
    line = error_message(audio.read, tmp_path / "a.wav")
    assert "no permission to read" in line
    assert "chmod +r" in line


def test_files_without_audio(tmp_path, error_message, encode):
    (tmp_path / "empty.wav").touch()
    assert "is empty (0 bytes)" in error_message(audio.read, tmp_path / "empty.wav")
    (tmp_path / "text.wav").write_text("Dear diary,\n" * 100)
    line = error_message(audio.read, tmp_path / "text.wav")
    assert "text.wav', which cannot be decoded" in line
    assert "expected audio (WAV, FLAC" in line
    (tmp_path / "random.mp3").write_bytes(np.random.default_rng(0).bytes(10_000))
    assert "cannot be decoded" in error_message(audio.read, tmp_path / "random.mp3")
    (tmp_path / "random.mp3").write_bytes(b"\xff\xfb" + np.random.default_rng(0).bytes(10_000))
    assert "cannot be decoded" in error_message(audio.read, tmp_path / "random.mp3")


def test_playlists_are_not_followed(tmp_path, error_message):
    (tmp_path / "a.wav").write_bytes(wave(bytes(100)))
    for text in (f"ffconcat version 1.0\nfile {tmp_path}/a.wav\n", f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/a.wav\n"):
        (tmp_path / "list.wav").write_text(text)
        assert "cannot be decoded" in error_message(audio.read, tmp_path / "list.wav")


@pytest.mark.parametrize("format", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF", "OGG"])
def test_files_of_no_samples(tmp_path, error_message, format):
    (tmp_path / "a").write_bytes(encoded(np.zeros((1, 0)), format))
    for call in (audio.read, audio.probe):
        assert "expected a file of one sample or more" in error_message(call, tmp_path / "a")


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0x80000000, 0])
@pytest.mark.parametrize("list_chunk", [False, True])
def test_files_with_a_placeholder_length_are_read_to_the_end(tmp_path, size, list_chunk):
    data = wave(bytes(range(200)), data_size=size, riff_size=size)
    if list_chunk:  # as ffmpeg writes to a pipe
        data = data[:36] + b"LIST\x1a\0\0\0INFOISFT\x0e\0\0\0Lavf62.12.100\0" + data[36:]
    (tmp_path / "a.wav").write_bytes(data)
    back = audio.read(tmp_path / "a.wav").samples
    assert np.array_equal(back[0] * 2**15, np.frombuffer(bytes(range(200)), "<i2"))
    assert audio.probe(tmp_path / "a.wav").samples == 100


@pytest.mark.parametrize("size", [202, 3_000_000_000])
def test_a_length_beyond_the_end_of_the_file(tmp_path, error_message, size):
    (tmp_path / "a.wav").write_bytes(wave(bytes(200), data_size=size))
    line = error_message(audio.probe, tmp_path / "a.wav")
    assert f"is cut: expected {size + 44} bytes by its header, got 244" in line
    assert "ffmpeg -i FILE OTHER.wav" in line


def test_a_flac_without_a_length_is_read(tmp_path, noise):
    data = bytearray(encoded(noise, "FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)
    assert np.abs(audio.read(tmp_path / "a.flac").samples - noise).max() <= 2**-15
    assert audio.probe(tmp_path / "a.flac").samples == 30_000


def test_a_flac_whose_header_states_too_many_samples(tmp_path, noise, error_message):
    data = bytearray(encoded(noise, "FLAC"))
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4  # 68 billion samples
    (tmp_path / "a.flac").write_bytes(data)
    assert "is cut after 30000 samples (1.25 s) of 68719476735" in error_message(audio.read, tmp_path / "a.flac")


CUT = ["WAV", "FLAC", "AIFF", "AU", "CAF", "W64", "OGG", "MP3"]


@pytest.mark.parametrize("format", CUT)
@pytest.mark.parametrize("part", [0.3, 0.99])
def test_cut_files(tmp_path, noise, error_message, format, part):
    data = encoded(noise, format)
    (tmp_path / "a").write_bytes(data[: int(part * len(data))])
    line = error_message(audio.read, tmp_path / "a")
    assert "cut" in line
    assert "get the whole file again" in line


@pytest.mark.parametrize("format", CUT)
def test_files_that_are_cut_while_they_are_read(tmp_path, noise, error_message, format):
    (tmp_path / "a").write_bytes(encoded(np.tile(noise, 10), format))
    with AudioReader(tmp_path / "a") as reader:
        assert reader.read(1_000).shape == (2, 1_000)
        os.truncate(tmp_path / "a", (tmp_path / "a").stat().st_size // 2)
        assert "cut" in error_message(reader.read, 300_000)


def test_a_file_can_be_deleted_while_it_is_read(tmp_path, noise):
    (tmp_path / "a").write_bytes(encoded(noise, "FLAC"))
    with AudioReader(tmp_path / "a") as reader:
        (tmp_path / "a").unlink()
        assert reader.read(50_000).shape == (2, 30_000)


def test_damage_in_the_middle(tmp_path, noise, error_message):
    data = bytearray(encoded(noise, "FLAC"))
    data[40_000] ^= 1
    (tmp_path / "a.flac").write_bytes(data)
    assert "damaged or cut somewhere after" in error_message(audio.read, tmp_path / "a.flac")
    with AudioReader(tmp_path / "a.flac") as reader:
        error_message(reader.read, 30_000)
        assert "which is closed; open it again" in error_message(reader.read, 30_000, error=InputError)
    data = bytearray(encoded(noise, "MP3"))
    data[4_000:6_000] = bytes(2_000)
    (tmp_path / "a.mp3").write_bytes(data)
    assert "damaged or cut somewhere after" in error_message(audio.read, tmp_path / "a.mp3")


@pytest.mark.parametrize("seed", range(3))
def test_libraries_print_nothing_about_damage(tmp_path, noise, capfd, seed):
    generator = np.random.default_rng(seed)
    for format in ("MP3", "FLAC", "OGG", "CAF"):
        data = bytearray(encoded(noise[:, :9_000], format))
        for place in generator.integers(len(data), size=40):
            data[place] ^= 1 << int(generator.integers(8))
        (tmp_path / "a").write_bytes(data)
        with suppress(MediaError):
            audio.read(tmp_path / "a")
    assert capfd.readouterr() == ("", "")


def test_several_ogg_streams_are_all_read(tmp_path, noise):
    (tmp_path / "a.opus").write_bytes(encoded(noise, "OGG", "OPUS", 48_000) * 2)
    assert audio.read(tmp_path / "a.opus").samples.shape == (2, 60_000)


def test_reading_beyond_the_end(tmp_path, noise, error_message):
    (tmp_path / "a").write_bytes(encoded(noise, "FLAC"))
    with AudioReader(tmp_path / "a") as reader:
        assert reader.samples == 30_000
        assert [reader.read(20_000).shape[1] for _ in range(4)] == [20_000, 10_000, 0, 0]
        assert "expected a block of 1 sample or more, got samples=0" in error_message(reader.read, 0, error=InputError)
    assert "which is closed; open it again" in error_message(reader.read, 1, error=InputError)
    reader.close()


ID3V2 = b"ID3\4\0\0\0\0\2\0" + bytes(256)
ID3V2_WITH_FOOTER = b"ID3\4\0\x10\0\0\2\0" + bytes(256) + b"3DI\4\0\x10\0\0\2\0"
ID3V1 = b"TAG" + bytes(125)
LYRICS3 = b"LYRICSBEGIN" + b"LYR00010some words" + b"000029LYRICS200"
APE_ITEM = struct.pack("<II", 4, 0) + b"Title\0word"
APE_SIZES = struct.pack("<III", 2000, len(APE_ITEM) + 32, 1)
APE = (b"APETAGEX" + APE_SIZES + struct.pack("<I8x", 0xA0000000) + APE_ITEM) + (
    b"APETAGEX" + APE_SIZES + struct.pack("<I8x", 0x80000000)
)


@pytest.mark.parametrize("format", ["WAV", "FLAC", "AIFF", "AU", "CAF", "W64", "RF64", "OGG", "MP3", "OPUS"])
@pytest.mark.parametrize(
    ("head", "tail"),
    [
        (ID3V2, b""),
        (ID3V2 + ID3V2_WITH_FOOTER, b""),
        (APE, b""),
        (b"", ID3V1),
        (b"", APE),
        (b"", APE + LYRICS3 + ID3V1),
        (b"", ID3V2_WITH_FOOTER),
        (ID3V2, ID3V1),
    ],
    ids=["ID3v2", "two", "APEv2", "ID3v1 behind", "APEv2 behind", "three behind", "ID3v2 behind", "both"],
)
def test_tags_are_passed_over_and_cuts_are_found(tmp_path, noise, error_message, format, head, tail):
    data = encoded(noise, "OGG", "OPUS") if format == "OPUS" else encoded(noise, format)
    (tmp_path / "whole").write_bytes(data)
    (tmp_path / "a").write_bytes(head + data + tail)
    assert np.array_equal(audio.read(tmp_path / "a").samples, audio.read(tmp_path / "whole").samples)
    assert audio.probe(tmp_path / "a").samples == 30_000
    source = files.MemoryFile("in an archive", head + data + tail)
    assert np.array_equal(audio.read(source).samples, audio.read(tmp_path / "whole").samples)
    (tmp_path / "a").write_bytes(head + data[: len(data) * 6 // 10] + tail)
    assert "cut" in error_message(audio.read, tmp_path / "a")


@pytest.mark.parametrize(("format", "at"), [("WAV", 36), ("AIFF", 12)])
def test_an_id3_chunk_inside(tmp_path, noise, format, at):
    data = bytearray(encoded(noise, format))
    (tmp_path / "whole").write_bytes(data)
    order = "little" if format == "WAV" else "big"
    chunk = (b"id3 " if format == "WAV" else b"ID3 ") + len(ID3V2).to_bytes(4, order) + ID3V2
    data[4:8] = (int.from_bytes(data[4:8], order) + len(chunk)).to_bytes(4, order)
    (tmp_path / "a").write_bytes(data[:at] + chunk + data[at:])
    assert np.array_equal(audio.read(tmp_path / "a").samples, audio.read(tmp_path / "whole").samples)


def test_bytes_that_only_look_like_a_tag_are_audio(tmp_path):
    data = np.random.default_rng(0).bytes(872) + ID3V1
    (tmp_path / "a.wav").write_bytes(wave(data))
    assert np.array_equal(audio.read(tmp_path / "a.wav").samples[0] * 2**15, np.frombuffer(data, "<i2"))


@pytest.mark.parametrize("size", [2_000_000_000, 1_500_000_000, 0x7FFFFFFF - 36, 0xFFFFFFFF - 44])
def test_lengths_of_servers_that_do_not_know_the_length(tmp_path, size):
    (tmp_path / "a.wav").write_bytes(wave(bytes(range(200)), data_size=size, riff_size=min(size + 36, 2**32 - 1)))
    assert audio.read(tmp_path / "a.wav").samples.shape == (1, 100)
    assert audio.probe(tmp_path / "a.wav").samples == 100


@pytest.mark.parametrize("size", [2_000_000, 900_000_000, 1_999_999_998, 3_000_000_000])
def test_other_lengths_are_believed(tmp_path, error_message, size):
    (tmp_path / "a.wav").write_bytes(wave(bytes(200), data_size=size, riff_size=size + 36))
    assert "is cut" in error_message(audio.read, tmp_path / "a.wav")


def test_integers_of_64_bits(tmp_path):
    values = np.array([-(2**63), 0, 2**62, 2**63 - 1])
    (tmp_path / "a.wav").write_bytes(wave(values.astype("<i8").tobytes(), bits=64))
    assert audio.read(tmp_path / "a.wav").samples.tolist() == [[-1, 0, 0.5, 1]]


@pytest.mark.parametrize("failure", [ValueError("no array\nof this"), RuntimeError(), MemoryError(), UnicodeError("x")])
@pytest.mark.parametrize("when", ["opening", "reading"])
def test_any_exception_of_a_library_becomes_one_line(tmp_path, noise, error_message, monkeypatch, failure, when):
    def fail(*arguments, **options):
        raise failure

    (tmp_path / "a.mp3").write_bytes(encoded(noise, "MP3"))
    with ExitStack() as stack:
        if when == "opening":
            monkeypatch.setattr("narrows.media.audio.pyav_decoder._open", fail)
            message = error_message(audio.read, tmp_path / "a.mp3")
        else:
            reader = stack.enter_context(AudioReader(tmp_path / "a.mp3"))
            monkeypatch.setattr(reader._decoder, "read", fail)
            message = error_message(reader.read, 100)
    assert "a.mp3'" in message


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (1, None),
        (10, None),
        (127, "integers of 8 bits, divide them by 128"),
        (32_767, "integers of 16 bits, divide them by 32768"),
        (2**31, "integers of 32 bits, divide them by 2147483648"),
        (1e12, "the first at sample 0 of channel 0 (both counted from 0) in '{}'; scale them"),
    ],
)
def test_samples_far_above_full_scale_are_refused(tmp_path, scale, message):
    soundfile.write(tmp_path / "a.wav", np.array([0.5, -1.0, 0.0]) * scale, RATE, subtype="DOUBLE")
    with AudioReader(tmp_path / "a.wav") as reader:
        if message is None:
            assert reader.read(10)[0, 1] == -np.float32(scale)
            return
        with pytest.raises(MediaError) as caught:
            reader.read(10)
    assert "expected samples up to 16, where full scale is 1, got up to " in str(caught.value)
    assert message.format(tmp_path / "a.wav") in str(caught.value)


@pytest.mark.parametrize(
    ("format", "subtype", "beside"),
    [
        ("WAV", "PCM_16", 0),
        ("FLAC", "PCM_16", 0),
        ("AIFF", "PCM_24", 0),
        ("CAF", "FLOAT", 0),
        ("OGG", "VORBIS", 50),
        ("OGG", "OPUS", 50),
        ("MP3", "MPEG_LAYER_III", 50),
    ],
)
@pytest.mark.parametrize("place", [1, 20_000, 47_000])
def test_skipping_goes_to_about_the_place(tmp_path, format, subtype, beside, place):
    samples = 0.3 * np.random.default_rng(0).standard_normal((1, 2 * RATE)).clip(-2, 2).astype(np.float32)
    path = tmp_path / "a"
    path.write_bytes(encoded(samples, format, subtype))
    whole = audio.read(path).samples
    with AudioReader(path) as reader:
        assert reader.expected_samples == whole.shape[1]
        reader.skip(place)
        found = reader.read(900)
        errors = [
            np.abs(found - whole[:, at : at + 900]).max()
            for at in range(max(0, place - beside), place + beside + 1)
            if at + 900 <= whole.shape[1]
        ]
        assert min(errors) < 0.01
        assert sum(block.shape[1] for block in reader.blocks(700)) >= whole.shape[1] - place - 900 - beside


def test_skipping_beyond_the_end_and_in_a_flac_without_a_length(tmp_path, noise):
    data = bytearray(encoded(noise, "FLAC", "PCM_16"))
    (tmp_path / "known").write_bytes(data)
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # the number of samples
    (tmp_path / "unknown").write_bytes(data)
    whole = audio.read(tmp_path / "known").samples
    for name in ("known", "unknown"):
        with AudioReader(tmp_path / name) as reader:
            reader.skip(1000)
            np.testing.assert_array_equal(reader.read(50), whole[:, 1000:1050])
        with AudioReader(tmp_path / name) as reader:
            reader.skip(whole.shape[1] + 5)
            assert reader.read(50).shape[1] == 0
