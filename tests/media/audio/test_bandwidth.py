"""Recordings with several channels or content above 8 kHz are found."""

import io

import numpy as np
import pytest
import soundfile

from narrows.errors import MediaError
from narrows.media import audio
from narrows.media.audio.bandwidth import is_full_band


def tone(hertz, rate, seconds=1.0, channels=1):
    x = 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
    return np.repeat(x[None].astype(np.float32), channels, 0)


@pytest.mark.parametrize(
    ("hertz", "rate", "channels", "expected"),
    [
        (400, 44100, 1, False),
        (7000, 48000, 1, False),
        (9000, 44100, 1, True),
        (15000, 48000, 1, True),
        (7900, 16000, 1, False),
        (400, 16000, 2, True),
    ],
)
def test_tones(tmp_path, hertz, rate, channels, expected):
    path = tmp_path / "x.wav"
    audio.write(path, tone(hertz, rate, channels=channels), rate)
    assert is_full_band(path) is expected


def test_weak_content_above_the_limit_counts_from_50_db_below_all(tmp_path):
    for level, expected in ((-40, True), (-65, False)):
        x = tone(500, 44100) + 10 ** (level / 20) * tone(12000, 44100)
        audio.write(tmp_path / f"{level}.flac", x, 44100)
        assert is_full_band(tmp_path / f"{level}.flac") is expected


def test_silence_and_very_short_recordings_are_not(tmp_path):
    for name, samples in (("silence", 50_000), ("short", 7)):
        audio.write(tmp_path / f"{name}.wav", np.zeros((1, samples), np.float32), 44100)
        assert not is_full_band(tmp_path / f"{name}.wav")


def test_short_recordings_are_examined_too(tmp_path):
    for hertz, expected in ((600, False), (12000, True)):
        for samples in (300, 4095, 4097, 9000):
            audio.write(tmp_path / f"{hertz}-{samples}.wav", tone(hertz, 44100)[:, 11 : 11 + samples], 44100)
            assert is_full_band(tmp_path / f"{hertz}-{samples}.wav") is expected, (hertz, samples)
    audio.write(tmp_path / "one.wav", np.full((1, 1), 0.5, np.float32), 44100)
    is_full_band(tmp_path / "one.wav")


def test_a_constant_offset_is_no_content(tmp_path):
    x = 0.01 * tone(12000, 44100) + 0.001 * tone(400, 44100) + 0.9
    audio.write(tmp_path / "x.wav", x, 44100)
    assert is_full_band(tmp_path / "x.wav")
    audio.write(tmp_path / "y.wav", 0.0 * x + 0.5, 44100)
    assert not is_full_band(tmp_path / "y.wav")


@pytest.mark.parametrize(("suffix", "place"), [("flac", 0), ("flac", 55), ("flac", 139), ("ogg", 139), ("mp3", 139)])
def test_content_anywhere_in_a_long_recording_is_found(tmp_path, suffix, place):
    rate = 24_000
    x = 0.1 * tone(400, rate, 140)
    x[:, place * rate : (place + 1) * rate] += tone(9500, rate)
    audio.write(tmp_path / f"x.{suffix}", x, rate)
    assert is_full_band(tmp_path / f"x.{suffix}")


def test_bytes_and_file_objects(tmp_path):
    audio.write(tmp_path / "x.wav", tone(9000, 44100), 44100)
    data = (tmp_path / "x.wav").read_bytes()
    assert is_full_band(data)
    assert is_full_band(io.BytesIO(data))


def test_samples_that_are_not_finite_are_refused(tmp_path):
    x = tone(9000, 44100)
    x[0, 999] = np.nan
    soundfile.write(tmp_path / "x.wav", x[0], 44100, subtype="FLOAT")
    with pytest.raises(MediaError, match="NaN"):
        is_full_band(tmp_path / "x.wav")


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "x.wav").write_bytes(b"no audio")
    with pytest.raises(MediaError):
        is_full_band(tmp_path / "x.wav")
