"""The model that `codec encode` takes for a file if none is named."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from narrows.checkpoints import default
from narrows.checkpoints.default import default_model
from narrows.checkpoints.index import models
from narrows.errors import MediaError
from narrows.media.audio import AudioReader
from narrows.media.table import MEDIA


def write(path: Path, hertz: float, rate: int, channels: int = 1, seconds: float = 0.5) -> Path:
    x = 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, np.repeat(x[:, None], channels, 1), rate)
    return path


@pytest.mark.parametrize(
    ("hertz", "rate", "channels", "model"),
    [
        (400, 8000, 1, "speech"),
        (400, 16000, 1, "speech"),
        (400, 48000, 1, "speech"),
        (12000, 48000, 1, "audio"),
        (400, 8000, 2, "audio"),
        (400, 44100, 6, "audio"),
    ],
)
def test_channels_and_content_choose_the_model(
    tmp_path: Path, hertz: float, rate: int, channels: int, model: str
) -> None:
    assert default_model(write(tmp_path / "x.wav", hertz, rate, channels)) == model


def test_every_model_that_is_chosen_ships(tmp_path: Path) -> None:
    shipped = {model.name for model in models()}
    assert {default.FULL_BAND, default.SPEECH, *(medium.default_model for medium in MEDIA.values())} <= shipped
    assert default_model(tmp_path / "missing.wav") == "speech"


def test_silence_and_a_sample(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.flac", np.zeros(100_000), 44100)
    soundfile.write(tmp_path / "one.wav", np.zeros(1), 44100)
    assert default_model(tmp_path / "silence.flac") == "speech"
    assert default_model(tmp_path / "one.wav") == "speech"


def test_images_and_files_that_are_missing(tmp_path: Path) -> None:
    assert default_model(tmp_path / "x.png") == "image"
    assert default_model(tmp_path / "missing.wav") == "speech"  # opening it says that it is missing
    assert default_model(tmp_path) == "speech"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    assert default_model(tmp_path / "pipe.wav") == "speech"


def test_broken_files_are_refused_with_a_line(tmp_path: Path) -> None:
    whole = write(tmp_path / "x.wav", 12000, 48000).read_bytes()
    soundfile.write(tmp_path / "y.wav", np.full(9000, np.nan), 48000, subtype="FLOAT")
    nan = (tmp_path / "y.wav").read_bytes()
    for name, data in (
        ("empty", b""),
        ("text", b"no audio"),
        ("cut", whole[:1000]),
        ("header", whole[:30]),
        ("nan", nan),
    ):
        path = tmp_path / f"{name}.wav"
        path.write_bytes(data)
        with pytest.raises(MediaError) as caught:
            default_model(path)
        assert "\n" not in str(caught.value)


def test_a_minute_of_a_long_recording_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.flac", 400, 44100, seconds=300)
    read = []
    original = AudioReader.read

    def counted(reader: AudioReader, samples: int) -> object:
        read.append(samples)
        return original(reader, samples)

    monkeypatch.setattr(AudioReader, "read", counted)
    assert default_model(path) == "speech"
    assert sum(read) == 60 * 44100
