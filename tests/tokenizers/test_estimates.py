"""Estimates of bytes before coding."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import narrows
from narrows.codecs import FSQ, Codec, ConvDecoder, ConvEncoder
from narrows.errors import InputError, ModelError
from narrows.media import audio
from narrows.media.image import Image
from narrows.tokenizers.image import ImageTokenizer

SPEECH = Path(__file__).parents[2] / "examples" / "speech.wav"


@pytest.mark.parametrize("settings", [{}, {"codebooks": 2}, {"bitrate": 1.5}])
def test_speech(settings: dict[str, Any]) -> None:
    tokenizer, recording = narrows.load("speech"), audio.read(SPEECH)
    size = len(tokenizer.encode_bytes(SPEECH.read_bytes(), **settings))
    assert tokenizer.estimate(recording.extent.seconds, **settings) == pytest.approx(size, rel=0.2)


@pytest.mark.parametrize("channels", [1, 3])
def test_recordings_without_tables_have_a_fixed_rate(tiny_checkpoint: Any, channels: int) -> None:
    tokenizer = narrows.load(tiny_checkpoint())
    assert isinstance(tokenizer, narrows.AudioTokenizer)
    tokenizer.tables = None
    x = 0.1 * np.random.default_rng(0).standard_normal((channels, 8000 * 45)).astype(np.float32)
    size = len(tokenizer.compress(tokenizer.encode(x, 8000)))
    assert tokenizer.estimate(45, channels=channels) == pytest.approx(size, rel=0.01)
    for wrong in ({"seconds": 0}, {"seconds": float("nan")}, {"seconds": "a"}, {"seconds": None}, {"seconds": 1e300}):
        with pytest.raises(InputError, match="expected seconds"):
            tokenizer.estimate(**wrong)
    for count in (0, 1.5, 65, True, None, "a"):
        with pytest.raises(InputError, match="expected channels"):
            tokenizer.estimate(1, channels=count)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected codebooks of 1, 2, 3"):
        tokenizer.estimate(1, codebooks=9)


def test_images_of_a_fixed_rate() -> None:
    tokenizer = ImageTokenizer(Codec(ConvEncoder(8, 8), FSQ(8, (4, 4), groups=3, dropout=0.2), ConvDecoder(8, 8)))
    x = np.random.default_rng(0).integers(0, 256, (3, 99, 201), np.uint8)
    for codebooks in (1, 3):
        size = len(tokenizer.compress(tokenizer.encode(x, codebooks=codebooks)))
        assert abs(tokenizer.estimate(x, codebooks=codebooks) - size) < 30


def picture(height: int, width: int) -> np.ndarray:
    """(3, H, W): smooth, with edges and some noise."""
    y, x = np.mgrid[:height, :width]
    planes = np.stack([128 + 60 * np.sin(x / 9) + 40 * (y > x), 128 + 70 * np.sin(y / 17), 100 + 50 * (x % 40 > 20)])
    return (planes + np.random.default_rng(0).normal(0, 6, planes.shape)).clip(0, 255).astype(np.uint8)


def test_images_follow_what_they_show() -> None:
    tokenizer = narrows.load("image")
    plain, detailed = np.full((3, 160, 240), 99, np.uint8), picture(160, 240)
    for quality in (2, 5):
        size = len(tokenizer.compress(tokenizer.encode(detailed, quality=quality, effort=0)))
        assert 0.5 < tokenizer.estimate(detailed, quality=quality) / size < 2
    assert tokenizer.estimate(plain, quality=4) < 0.2 * tokenizer.estimate(detailed, quality=4)
    floats = detailed / np.float32(127.5) - 1
    assert tokenizer.estimate(floats, quality=4) == tokenizer.estimate(detailed, quality=4)
    alpha = np.random.default_rng(0).integers(0, 256, (160, 240), np.uint8)
    transparent = Image(detailed, alpha).as_pil()
    attached = len(tokenizer.encode(transparent, quality=1, effort=0).attachments["alpha"])
    assert tokenizer.estimate(transparent) == tokenizer.estimate(detailed) + attached


def test_sides_longer_than_webp_takes() -> None:
    tokenizer, part = narrows.load("image"), picture(8, 4096)
    whole = np.concatenate([part] * 5, 2)
    assert tokenizer.estimate(whole, quality=4) == pytest.approx(5 * tokenizer.estimate(part, quality=4), rel=0.02)


def test_models_without_an_evaluation(tmp_path: Path) -> None:
    shipped = narrows.load("image").folder
    assert shipped is not None
    shutil.copytree(shipped, tmp_path / "mine")
    points = json.loads((shipped / "evaluation.json").read_text())["points"]
    x = picture(20, 30)
    for content in (None, [point for point in points if point["codec"] != "webp"], []):
        (tmp_path / "mine" / "evaluation.json").unlink(missing_ok=True)
        if content is not None:
            (tmp_path / "mine" / "evaluation.json").write_text(json.dumps({"points": content}))
        with pytest.raises(
            InputError, match=r"expected an evaluation\.json of image with webp as a baseline, got none"
        ):
            narrows.load(tmp_path / "mine").estimate(x)
    (tmp_path / "mine" / "evaluation.json").write_text("{")
    with pytest.raises(ModelError, match=r"expected results of a model in .*, got none"):
        narrows.load(tmp_path / "mine").estimate(x)
