"""What objects look like on one line, and in notebooks."""

import base64
import re
from typing import Any

import numpy as np
import pytest

from narrows.errors import InputError
from narrows.media import audio, image
from narrows.media.audio import Audio, AudioReader
from narrows.media.image import Image, ImageReader
from narrows.media.notebook import picture, player, table
from narrows.media.table import MEDIA


def content(html: str) -> bytes:
    found = re.search(r'src="data:[a-z]+/[a-z]+;base64,([^"]+)"', html)
    assert found is not None
    return base64.b64decode(found[1])


def test_signals_and_readers_on_one_line(tmp_path, noise) -> None:
    sound, photo = Audio(noise, 24_000), Image(np.zeros((3, 4, 6), np.uint8))
    assert repr(sound) == "Audio(1.25 s, 24000 Hz, 2 channels)"
    assert repr(Audio(noise[:1, :0], 24_000)) == "Audio(0.00 s, 24000 Hz, 1 channel)"
    assert repr(photo) == "Image(6 × 4, RGB)"
    assert repr(Image(photo.pixels[:1], np.zeros((4, 6), np.uint8))) == "Image(6 × 4, grey with alpha)"
    audio.write(tmp_path / "a.wav", noise, 24_000)
    image.write(tmp_path / "a.png", photo.pixels)
    with AudioReader(tmp_path / "a.wav") as reader:
        assert repr(reader) == f"<AudioReader '{tmp_path}/a.wav': wav (pcm_16), 1.25 s, 24000 Hz, 2 channels>"
    with ImageReader(tmp_path / "a.png") as reader:
        assert repr(reader) == f"<ImageReader '{tmp_path}/a.png': png, 6 × 4, RGB>"
    assert repr(MEDIA["audio"]) == "Medium('audio')"


def test_a_player() -> None:
    whole = Audio(np.zeros((1, 8000), np.float32), 8000)._repr_html_()
    assert whole is not None
    assert audio.read(content(whole)).samples.shape == (1, 8000)
    assert whole.endswith("Audio(1.00 s, 8000 Hz, 1 channel)")
    long = Audio(np.zeros((3, 8000 * 61), np.float32), 8000)._repr_html_()
    assert long is not None
    assert audio.read(content(long)).samples.shape == (2, 8000 * 60)
    assert long.endswith("Audio(61.00 s, 8000 Hz, 3 channels), of which the first 60 s and the first 2 channels")
    assert Audio(np.full((1, 9), np.nan, np.float32), 8000)._repr_html_() is None


def test_a_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 6), np.uint8)
    shown = Image(pixels)._repr_html_()
    assert np.array_equal(image.read(content(shown)).pixels, pixels)
    assert shown.endswith("Image(6 × 4, RGB)")
    large = Image(np.zeros((1, 10, 3000), np.uint8))._repr_html_()
    assert image.probe(content(large)).width == 1024
    assert large.endswith("Image(3000 × 10, grey), shown at 1024 × 3")


def test_texts_are_escaped() -> None:
    assert "<script>" not in player(b"", "<script>") + picture(
        Image(np.zeros((1, 1, 1), np.uint8)).as_pil(), "<script>"
    )
    assert "<script>" not in table(["<script>"], [["<script>"]])


@pytest.mark.parametrize("side", [1000, 3000])
def test_pictures_of_noise_stay_small(side: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, side, side), np.uint8)
    html = Image(pixels, pixels[0])._repr_html_()
    assert len(html) < 900_000
    assert image.probe(content(html)).width >= 512


def test_players_of_high_rates_and_many_channels_stay_small() -> None:
    html = Audio(np.zeros((64, 96_000 * 30), np.float32), 96_000)._repr_html_()
    assert html is not None
    assert len(html) < 6_000_000
    assert html.endswith("of which the first 10.4 s and the first 2 channels")


@pytest.mark.parametrize(
    ("samples", "rate"), [("x", 16_000), (None, 8000), (np.zeros(3), 8000), (np.zeros((1, 3), int), 8000)]
)
def test_what_is_no_audio_is_refused(samples: Any, rate: int) -> None:
    with pytest.raises(InputError, match="expected samples"):
        Audio(samples, rate)


@pytest.mark.parametrize("rate", ["a", None, 8000.0, True])
def test_what_is_no_rate_is_refused(rate: Any) -> None:
    with pytest.raises(InputError, match="expected the sample rate as a whole number of Hz"):
        Audio(np.zeros((1, 3), np.float32), rate)
