import io
import os
import resource
import signal
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest

from narrows.errors import InputError, MediaError, OutputExists
from narrows.media import video

SUFFIXES = ["mp4", "mov", "webm", "mkv"]
NTSC = Fraction(30_000, 1_001)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (7, 5), (32, 48), (300, 1), (16, 8192)])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_flat_colours(tmp_path, suffix, size):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 40)]
    frames = [np.broadcast_to(np.array(colour, np.uint8)[:, None, None], (3, *size)) for colour in colours]
    path = tmp_path / f"a.{suffix}"
    video.write(path, frames, NTSC)
    found = video.read(path)
    assert found.pixels.shape == (3, 6, *size)
    assert abs(found.pixels.astype(int) - np.stack(frames, 1)).max() <= (0 if suffix == "mkv" else 3)
    assert (found.rate, found.times) == (NTSC, None)


def test_lossless_frames_come_back(tmp_path):
    frames = [np.random.default_rng(k).integers(0, 256, (3, 33, 47)).astype(np.uint8) for k in range(5)]
    video.write(tmp_path / "a.mkv", frames, 25)
    assert np.array_equal(video.read(tmp_path / "a.mkv").pixels, np.stack(frames, 1))


@pytest.mark.parametrize(("suffix", "size", "expected"), [
    ("mp4", (32, 48), "yuv420p"), ("mp4", (33, 48), "yuv444p"), ("mov", (32, 47), "yuv444p"),
    ("webm", (33, 47), "yuv420p"), ("mkv", (33, 47), "bgr0"),
])  # fmt: skip
def test_formats_of_pixels_and_colours(tmp_path, moving, suffix, size, expected):
    video.write(tmp_path / f"a.{suffix}", moving(3, *size), 25)
    info = video.probe(tmp_path / f"a.{suffix}")
    assert info.pixel_format == expected
    assert (info.matrix, info.matrix_stated) == ("rgb" if suffix == "mkv" else "bt709", True)
    assert info.full_range == (suffix == "mkv")
    assert info.warnings == ()


@pytest.mark.parametrize("rate", [1, 10, 25, NTSC, Fraction(24_000, 1_001), Fraction(25, 2), 240, Fraction(1, 3)])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rates(tmp_path, moving, suffix, rate):
    video.write(tmp_path / f"a.{suffix}", moving(12, 16, 16), rate)
    info = video.probe(tmp_path / f"a.{suffix}")
    assert (info.frames, info.rate, info.times, info.start) == (12, rate, None, 0)
    assert info.duration == Fraction(12) / rate


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_variable_times(tmp_path, moving, suffix):
    unit = 1_000 if suffix in ("mkv", "webm") else 90_000
    times = [Fraction(place, unit) for place in (0, 17, 40, 41, 95, 180, 181, 200, 350, 353)]
    video.write(tmp_path / f"a.{suffix}", moving(10), times=times)
    found = video.read(tmp_path / f"a.{suffix}")
    assert found.times == tuple(times)
    again = tmp_path / f"b.{suffix}"
    video.write(again, moving(10), times=found.times)
    assert video.probe(again).times == tuple(times)


def test_times_without_a_common_unit_are_rounded_to_microseconds(tmp_path, moving):
    times = [Fraction(0), Fraction(1, 999_983), Fraction(1, 999_979) + Fraction(1, 10)]
    video.write(tmp_path / "a.mp4", moving(3), times=times)
    found = video.read(tmp_path / "a.mp4").times
    assert all(abs(one - other) <= Fraction(1, 1_000_000) for one, other in zip(found, times, strict=True))


def test_one_frame(tmp_path, moving):
    for suffix in SUFFIXES:
        video.write(tmp_path / f"a.{suffix}", moving(1), 25)
        info = video.probe(tmp_path / f"a.{suffix}")
        assert (info.frames, info.rate) == (1, 25)


def test_targets(tmp_path, moving):
    file = io.BytesIO()
    video.write(file, moving(3), 25, format="webm")
    assert video.probe(file.getvalue()).frames == 3
    path = tmp_path / "a b:c.MP4"
    video.write(path, moving(3), 25)
    with pytest.raises(OutputExists):
        video.write(path, moving(4), 25)
    assert video.probe(path).frames == 3
    video.write(path, moving(4), 25, overwrite=True)
    assert video.probe(path).frames == 4
    video.check_target("a.mkv")
    with pytest.raises(InputError, match=r"expected one of the suffixes \.mp4, \.mov, \.webm, \.mkv, got \.gif"):
        video.check_target("a.gif")


def test_invalid_frames_and_arguments(tmp_path, moving, error_message):
    path = tmp_path / "a.mp4"

    def message(frames, rate=25, **options):
        return error_message(video.write, path, frames, rate, error=InputError, **options)

    frames = moving(2)
    assert "got no frames" in message([])
    assert "float64" in message([frames[0] / 255])
    assert "(3, 32, 48)" in message([frames[0], frames[1][:, 1:]])
    assert "(1, 32, 48)" in message([frame[:1] for frame in frames])
    assert "uint8 of shape (32, 48)" in message([frames[0][0]])
    assert "a rate or times, got none" in message(frames, None)
    assert "a rate or times, got both" in message(frames, 25, times=[0, 1])
    for rate in (0, -1, 29.97, True, "25"):
        assert "frame rate" in message(frames, rate)
    assert "increase" in message(frames, None, times=[0, 0])
    assert "begin at 0" in message(frames, None, times=[1, 2])
    assert "got more" in message(frames, None, times=[0])
    assert "expected 3 frames" in message(frames, None, times=[0, 1, 2])
    assert "expected frames of 1 to" in error_message(video.VideoWriter, path, 100_000, 100_000, 25, error=InputError)
    assert "whole number" in error_message(video.VideoWriter, path, 1.5, 2, 25, error=InputError)
    assert "is not open" in error_message(video.VideoWriter(path, 8, 8, 25).write, frames[0], error=InputError)
    assert os.listdir(tmp_path) == []


def test_frames_too_close_for_the_format(tmp_path, moving, error_message):
    for suffix, rate in (("webm", 1_001), ("mkv", 1_001), ("mp4", 1_000_001)):
        message = error_message(video.write, tmp_path / f"a.{suffix}", moving(2), rate, error=InputError)
        assert "s apart" in message
    times = [Fraction(0), Fraction(1, 1_001)]
    assert "s apart" in error_message(video.write, tmp_path / "a.mkv", moving(2), error=InputError, times=times)
    video.write(tmp_path / "a.webm", moving(3), 1_000)
    assert video.probe(tmp_path / "a.webm").rate == 1_000
    video.write(tmp_path / "a.mp4", moving(3), 1_000_000)
    assert video.probe(tmp_path / "a.mp4").rate == 1_000_000


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("room", [0, 1_000, 30_000])
def test_a_full_disk(tmp_path, moving, error_message, suffix, room):
    """A limit on the length of files acts like a full disk."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (3, 64, 64)).astype(np.uint8) for _ in range(20)]
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, old[1]))
    try:
        message = error_message(video.write, tmp_path / f"a.{suffix}", frames, 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert "could not be written to its end (file too large)" in message
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MediaError])
def test_an_error_leaves_no_file(tmp_path, moving, error):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"older")

    def frames():
        yield from moving(5)
        raise error("in the middle")

    with pytest.raises(error, match="in the middle"):
        video.write(path, frames(), 25, overwrite=True)
    assert os.listdir(tmp_path) == ["a.mp4"]
    assert path.read_bytes() == b"older"


def test_an_interrupt_of_the_process_leaves_no_file(tmp_path):
    script = (
        "import itertools, signal, sys, numpy as np\nfrom narrows.media import video\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in what a shell runs in the background
        "with video.VideoWriter(sys.argv[1], 64, 64, 25) as writer:\n"
        "    for k in itertools.count():\n"
        "        writer.write(np.full((3, 64, 64), k % 256, np.uint8))\n"
        "        print(k, flush=True)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.mp4")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        for _ in range(30):
            process.stdout.readline()
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in process.communicate(timeout=30)[1]
    finally:
        process.kill()
    assert os.listdir(tmp_path) == []
