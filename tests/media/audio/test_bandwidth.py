"""Recordings with several channels or content above 8 kHz are found."""

import numpy as np
import pytest

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


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "x.wav").write_bytes(b"no audio")
    with pytest.raises(MediaError):
        is_full_band(tmp_path / "x.wav")
