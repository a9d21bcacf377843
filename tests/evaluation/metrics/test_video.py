import math
from fractions import Fraction

import numpy as np
import pytest

from narrows.errors import InputError
from narrows.evaluation.base import Metric, NotMeasurable, SetMetric
from narrows.evaluation.metrics import frames, metric, metric_of, metrics
from narrows.media.image import Image
from narrows.media.video import Video

NAMES = ("psnr", "psnr-y", "worst-frame-psnr", "ssim", "ms-ssim", "flicker")


def clip(pixels):
    return Video(np.asarray(pixels, np.uint8), Fraction(25))


def measure(name, x, y):
    return metric_of(name, "video").measure(x, y)


@pytest.fixture
def noise():
    """noise(frames, height, width) -> two clips of random pixels."""

    def made(frames=5, height=20, width=24):
        rng = np.random.default_rng(0)
        return [clip(rng.integers(0, 256, (3, frames, height, width))) for _ in range(2)]

    return made


def test_psnr_is_the_mean_over_frames(noise):
    x, y = noise()
    wanted = [metric("psnr").measure(*(Image(z.pixels[:, t].copy()) for z in (x, y))) for t in range(5)]
    assert measure("psnr", x, y) == pytest.approx(np.mean(wanted), abs=1e-9)
    assert measure("worst-frame-psnr", x, y) == pytest.approx(min(wanted), abs=1e-9)


def test_one_bad_frame(noise):
    x, _ = noise()
    y = np.clip(x.pixels.astype(int) + 1, 0, 255)
    y[:, 3] = 255 - y[:, 3]
    assert measure("worst-frame-psnr", x, clip(y)) < 10 < 38 < measure("psnr", x, clip(y))


def test_identical_frames_count_as_60_db(noise):
    x, _ = noise(2)
    y = x.pixels.copy()
    y[:, 1] ^= 1  # an error of 1 level: 48.13 dB
    assert measure("psnr", x, clip(y)) == pytest.approx((60 + 20 * math.log10(255)) / 2)
    for name in ("psnr", "psnr-y", "worst-frame-psnr"):
        with pytest.raises(NotMeasurable, match="identical"):
            measure(name, x, x)


def test_luma():
    grey = np.full((3, 2, 4, 4), 100)
    reddish = grey.copy()
    reddish[0] += 10
    error = 10 * 0.2126 * 219 / 255
    assert measure("psnr-y", clip(grey), clip(reddish)) == pytest.approx(20 * math.log10(255 / error), abs=1e-4)


def test_flicker():
    """An error that stays is no flicker; one that changes its sign in every frame is."""
    x = np.random.default_rng(0).integers(50, 200, (3, 6, 8, 8))
    assert measure("flicker", clip(x), clip(x + 9)) == 0
    assert measure("flicker", clip(x), clip(x)) == 0
    alternating = x + 3 * np.array([1, -1, 1, -1, 1, -1])[None, :, None, None]
    assert measure("flicker", clip(x), clip(alternating)) == pytest.approx(6)
    once = x.copy()
    once[:, 3] += 4  # two of the five differences are wrong by 4
    assert measure("flicker", clip(x), clip(once)) == pytest.approx((2 / 5 * 16) ** 0.5)
    with pytest.raises(NotMeasurable, match="one frame"):
        measure("flicker", clip(x[:, :1]), clip(x[:, :1]))


@pytest.mark.parametrize("name", ["ssim", "ms-ssim-db"])
def test_metrics_of_images_are_means_over_frames(name, noise):
    x, y = noise(3, 176, 180)
    of_image = metric(name).measure
    wanted = np.mean([of_image(*(Image(z.pixels[:, t].copy()) for z in (x, y))) for t in range(3)])
    assert measure(name, x, y) == pytest.approx(wanted, abs=1e-12)
    assert metric_of(name, "video").description.startswith("Mean over frames.")
    assert metric(name).description in metric_of(name, "video").description


def test_undefined_frames_are_left_out(noise):
    x, y = noise(3, 176, 180)
    y.pixels[:, 1] = x.pixels[:, 1]
    kept = [0, 2]
    wanted = measure("ms-ssim-db", clip(x.pixels[:, kept]), clip(y.pixels[:, kept]))
    assert measure("ms-ssim-db", x, y) == pytest.approx(wanted)
    with pytest.raises(NotMeasurable, match="identical"):
        measure("ms-ssim-db", x, x)
    small, other = noise()
    with pytest.raises(NotMeasurable, match="a side is shorter than 176 pixels"):
        measure("ms-ssim", small, other)


def test_spread():
    assert frames.spread(5) == [0, 1, 2, 3, 4]
    assert frames.spread(32) == list(range(32))
    for count in (33, 100, 128, 300, 10_007):
        found = frames.spread(count)
        assert len(set(found)) == 32
        assert all(part * count // 32 <= place < (part + 1) * count // 32 for part, place in enumerate(found))
    for step in (2, 4, 8):
        assert len({place % step for place in frames.spread(32 * 8)}) == step


def test_metrics_of_images_look_at_few_frames(noise, monkeypatch):
    seen = []
    listed = Metric("odd", "image", "", "higher", "Odd.", lambda x, y: seen.append(x) or float(len(seen)))
    assert frames.over_frames(listed).measure(*noise(100, 4, 4)) == 16.5
    assert len(seen) == 32


def test_sets_of_frames(noise):
    listed = SetMetric("set", "image", "", "lower", "Set.", lambda x: x.pixels.mean((1, 2))[None], lambda x, y: 0.0)
    x, _ = noise(3)
    assert frames.over_frames(listed).features(x) == pytest.approx(x.pixels.mean((2, 3)).T)


def test_media():
    assert metric_of("psnr", "image") is metric("psnr")
    assert metric_of("flicker", "video") is metrics()["flicker"]
    for name, medium in (("estoi", "video"), ("flicker", "image"), ("psnr", "audio")):
        with pytest.raises(InputError, match=f"expected metrics of {medium}, got {name} of"):
            metric_of(name, medium)


@pytest.mark.parametrize("name", NAMES)
def test_clips_of_other_shapes(name, noise):
    x, _ = noise(5)
    y, _ = noise(4)
    with pytest.raises(InputError, match="expected two clips of one shape"):
        measure(name, x, y)
    with pytest.raises(InputError, match="expected video for both, got image"):
        measure(name, x, Image(np.zeros((3, 4, 4), np.uint8)))
