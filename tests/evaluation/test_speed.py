import sys

import numpy as np
import pytest

from narrows.errors import InputError, NarrowsError
from narrows.evaluation.baselines.image import ImageBaseline
from narrows.evaluation.models import ModelPoint
from narrows.evaluation.speed import measure_speed
from narrows.media import audio, image

FAULTS = """
import os, signal, time
from narrows.media.image import Image
from narrows.evaluation.baselines.image import ImageBaseline

class Killed(ImageBaseline):
    def encode(self, item, folder):
        os.kill(os.getpid(), signal.SIGKILL)

class Gone(ImageBaseline):
    def decode(self, path):
        os._exit(3)

class Faulty(ImageBaseline):
    def decode(self, path):
        raise ValueError("first line\\nsecond")

class Slow(ImageBaseline):
    calls = 0
    def encode(self, item, folder):
        time.sleep(0.04)
        return super().encode(item, folder)
    def decode(self, path):
        Slow.calls += 1
        time.sleep(1 if Slow.calls == 1 else 0.08)  # the warm-up is not timed
        return super().decode(path)
"""


@pytest.fixture
def image_path(tmp_path):
    image.write(tmp_path / "grey.png", np.full((1, 100, 200), 99, np.uint8))
    return tmp_path / "grey.png"


@pytest.fixture
def faults(tmp_path, monkeypatch):
    """Failing operating points, in a module that a new process can import."""
    (tmp_path / "faults.py").write_text(FAULTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "faults", raising=False)
    import faults

    return faults


def test_speed_of_a_model(tiny_checkpoint, tmp_path):
    place = tiny_checkpoint("timed")
    audio.write(tmp_path / "noise.wav", 0.1 * np.random.default_rng(0).standard_normal((1, 16_000)), 16_000)
    point = ModelPoint(str(place), 2.0)
    speed = measure_speed(point, [tmp_path / "noise.wav"], 2)
    assert speed.encode > 1
    assert speed.decode > 1
    assert 200 < speed.peak_mib < 2000  # includes torch
    assert speed.parameters == point.parameters
    assert speed.flops > 50 * 2 * speed.parameters / 2  # 50 frames a second, each weight used once


def test_memory_of_the_parent_does_not_count(image_path):
    """Some systems count the memory of the parent process."""
    held = np.ones(2**29, np.uint8)
    speed = measure_speed(ImageBaseline("jpeg", 50), [image_path], 1)
    assert 10 < speed.peak_mib < held.nbytes / 2**21  # without torch, which only models need
    assert (speed.parameters, speed.flops) == (None, None)


def test_encoding_and_decoding_are_timed_separately_after_a_warm_up(faults, image_path):
    speed = measure_speed(faults.Slow("jpeg", 50), [image_path], 1)
    assert 0.05 < speed.encode <= 0.02 / 0.04  # megapixel/s
    assert 0.05 < speed.decode <= 0.02 / 0.08


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Killed", r"speed of jpeg@50 cannot be measured: .* SIGKILL \(possibly out of memory\)$"),
        ("Gone", "its process ended with exit code 3$"),
        ("Faulty", "measured: first line second$"),
    ],
)
def test_a_failing_process_raises(faults, image_path, kind, message):
    with pytest.raises(NarrowsError, match=message):
        measure_speed(getattr(faults, kind)("jpeg", 50), [image_path], 1)


def test_unreadable_file(tmp_path):
    with pytest.raises(NarrowsError, match="measured: there is no file"):
        measure_speed(ImageBaseline("jpeg", 50), [tmp_path / "gone.png"], 1)


def test_no_files_or_rounds(image_path):
    with pytest.raises(InputError, match="0 files and 3 rounds"):
        measure_speed(ImageBaseline("jpeg", 50), [])
    with pytest.raises(InputError, match="1 files and 0 rounds"):
        measure_speed(ImageBaseline("jpeg", 50), [image_path], 0)
