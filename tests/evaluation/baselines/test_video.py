"""Video encoders, on a pattern that moves and on pure colours."""

import os
import pickle
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from narrows.errors import InputError, MediaError
from narrows.evaluation.alignment import check_size
from narrows.evaluation.base import Unavailable
from narrows.evaluation.baselines import ffmpeg
from narrows.evaluation.baselines.streams import packet_sizes
from narrows.evaluation.baselines.video import VIDEO_ENCODERS, VideoBaseline
from narrows.media.video import Video

SETTINGS = {"x264": (40, 28, 12), "x265": (40, 28, 12), "vp9": (58, 36, 10), "svt-av1": (58, 36, 10)}  # worst to best


def moving(frames, height, width, rate=25):
    """A smooth pattern that moves by a pixel a frame; each frame has its own brightness."""
    wide = np.random.default_rng(0).normal(0, 2, (1, height, width + frames)).cumsum(2).cumsum(1)
    wide = wide * np.array([1, 0.9, 0.8])[:, None, None] + 128
    shown = [wide[:, :, place : place + width] + 2 * (place % 7) for place in range(frames)]
    return Video(np.stack(shown, 1).clip(0, 255).astype(np.uint8), Fraction(rate))


def available(family, setting):
    baseline = VideoBaseline(family, setting)
    try:
        baseline.check()
    except Unavailable as missing:
        pytest.skip(str(missing))
    return baseline


def psnr(x, y):
    return 10 * np.log10(255**2 / np.square(x.astype(float) - y).mean())


@pytest.fixture(scope="module")
def clip():
    return moving(40, 64, 96, Fraction(30_000, 1_001))


def test_all_codecs_are_tested():
    assert set(SETTINGS) == set(VIDEO_ENCODERS)


@pytest.mark.parametrize("family", SETTINGS)
def test_rate_and_quality_increase_together(family, clip, tmp_path):
    coded = [available(family, setting).round_trip(clip, tmp_path) for setting in SETTINGS[family]]
    sizes = [result.file_bytes for result in coded]
    qualities = [psnr(clip.pixels, check_size(result.signal, clip).array) for result in coded]
    assert sizes == sorted(sizes)
    assert qualities == sorted(qualities)
    assert 20 < qualities[0] < qualities[2] - 4
    assert sizes[0] * 3 < sizes[2] < clip.pixels.size / 8
    assert [result.payload_bytes for result in coded] == sizes


@pytest.mark.parametrize("family", SETTINGS)
def test_frames_come_in_display_order(family, clip, tmp_path):
    """B-frames are stored in another order."""
    decoded = available(family, SETTINGS[family][2]).round_trip(clip, tmp_path).signal.pixels
    x, y = (pixels.reshape(3, 40, -1).astype(float) for pixels in (clip.pixels, decoded))
    distances = np.square(y[:, :, None] - x[:, None]).mean((0, 3))  # decoded × reference
    assert (distances.argmin(1) == np.arange(40)).all()


@pytest.mark.parametrize("family", SETTINGS)
def test_bytes_are_those_of_the_packets(family, clip, tmp_path):
    """No container counts, and no banner: x264 and x265 write a text of hundreds of bytes about themselves."""
    baseline = available(family, SETTINGS[family][0])
    path = baseline.encode(clip, tmp_path)
    data = path.read_bytes()
    assert len(packet_sizes(path)) == 40
    assert len(data) - baseline.payload(path) == (32 + 12 * 40 if family == "vp9" else 0)  # header and frames of IVF
    assert b"x26" not in data
    assert b"options" not in data


@pytest.mark.parametrize("family", SETTINGS)
def test_frames_are_predicted_from_each_other(family, tmp_path):
    still = moving(1, 64, 96).pixels.repeat(30, 1)
    baseline = available(family, SETTINGS[family][1])
    sizes = packet_sizes(baseline.encode(Video(still, Fraction(25)), tmp_path))
    assert sum(sizes[1:]) < sizes[0]  # of 29 frames


@pytest.mark.parametrize("family", SETTINGS)
@pytest.mark.parametrize("shape", [(1, 33, 71), (5, 64, 81)])
def test_odd_sizes_and_one_frame(family, shape, tmp_path):
    grey = Video(np.full((3, *shape), 77, np.uint8), Fraction(25))
    decoded = available(family, SETTINGS[family][2]).round_trip(grey, tmp_path).signal
    assert decoded.pixels.shape == (3, *shape)
    assert np.abs(decoded.pixels.astype(int) - 77).max() <= 3


@pytest.mark.parametrize("family", SETTINGS)
def test_pure_colours_are_preserved(family, tmp_path):
    """A wrong matrix or range would shift pure colours."""
    pure = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]], np.uint8).repeat(32, 0)
    clip = Video(np.broadcast_to(pure, (6, 64, 160, 3)).transpose(3, 0, 1, 2).copy(), Fraction(25))
    decoded = available(family, 4).round_trip(clip, tmp_path).signal.pixels.astype(int)
    assert np.abs(decoded - clip.pixels)[..., 16::32].max() <= 4


@pytest.mark.parametrize("family", SETTINGS)
def test_settings(family):
    settings = VIDEO_ENCODERS[family].settings
    for wrong in (settings.low - 1, settings.high + 1, None, float("nan")):
        with pytest.raises(InputError, match=f"for {family}"):
            VideoBaseline(family, wrong)


def test_rejected_clips(tmp_path):
    tiny = Video(np.zeros((3, 2, 2, 2), np.uint8), Fraction(25))
    for family, reason in (("x265", "it needs 64 columns"), ("svt-av1", "Invalid argument")):
        with pytest.raises(MediaError, match=rf"{family} cannot encode this clip of 2 × 2 pixels \({reason}\); skip"):
            available(family, 30).encode(tiny, tmp_path)


@pytest.mark.parametrize("family", SETTINGS)
def test_bytes_do_not_depend_on_what_was_in_memory(family, tmp_path):
    baseline, clip = available(family, 28), moving(30, 200, 320)
    code = (
        "import pickle, sys, pathlib; baseline, clip = pickle.loads(sys.stdin.buffer.read()); "
        "print(hash(baseline.encode(clip, pathlib.Path(sys.argv[1])).read_bytes()))"
    )
    found = set()
    for fill in ("1", "170"):  # glibc fills new memory with it
        environment = os.environ | {"MALLOC_PERTURB_": fill, "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-c", code, str(tmp_path)]
        found.add(
            subprocess.run(command, input=pickle.dumps((baseline, clip)), env=environment, check=True, stdout=-1).stdout
        )
    assert len(found) == 1


def test_missing_frames_are_found(clip, tmp_path, monkeypatch):
    from narrows.evaluation.baselines import video

    path = available("x264", 40).encode(clip, tmp_path)
    monkeypatch.setattr(video, "packet_sizes", lambda path: [1] * 41)
    with pytest.raises(MediaError, match="expected 41 frames from x264, got 40"):
        VideoBaseline("x264", 40).decode(path)


def test_key(monkeypatch):
    for family in SETTINGS:
        point = available(family, 30)
        assert "30" in str(point.key["options"])
        assert pickle.loads(pickle.dumps(point)) == point
    monkeypatch.setattr(ffmpeg, "pyav_has_encoder", lambda encoder: False)
    with pytest.raises(Unavailable, match="no encoder libx265"):
        VideoBaseline("x265", 30).check()
