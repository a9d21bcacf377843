import shutil
import struct
import subprocess

import numpy as np
import pytest

from narrows.media import video
from narrows.media.video.display import Orientation, orientation_of

ONE = 1 << 16
# a, b, c and d of the matrix; degrees clockwise after mirroring; whether mirrored
TURNS = [
    ((1, 0, 0, 1), 0, False),
    ((0, 1, -1, 0), 90, False),
    ((-1, 0, 0, -1), 180, False),
    ((0, -1, 1, 0), 270, False),
    ((-1, 0, 0, 1), 0, True),
    ((0, -1, -1, 0), 90, True),
    ((1, 0, 0, -1), 180, True),
    ((0, 1, 1, 0), 270, True),
]


def matrix(a, b, c, d):
    return [a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30]


@pytest.mark.parametrize(("turn", "rotation", "mirrored"), TURNS)
def test_all_orientations(turn, rotation, mirrored):
    orientation = orientation_of(struct.pack("=9i", *matrix(*turn)))
    assert (orientation.rotation, orientation.mirrored, orientation.known) == (rotation, mirrored, True)
    picture = np.arange(3 * 2 * 5, dtype=np.uint8).reshape(3, 2, 5)
    expected = picture[:, :, ::-1] if mirrored else picture
    assert np.array_equal(orientation.apply(picture), np.rot90(expected, -rotation // 90, axes=(1, 2)))


def test_other_matrices():
    half = round(ONE * 0.7071)
    assert orientation_of(struct.pack("=9i", half, half, 0, -half, half, 0, 0, 0, 1 << 30)) == Orientation(known=False)
    assert orientation_of(bytes(36)) == orientation_of(b"") == orientation_of(None) == Orientation()


@pytest.mark.parametrize(("turn", "rotation", "mirrored"), TURNS)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_files_are_read_upright(tmp_path, encode, suffix, turn, rotation, mirrored):
    """The same picture as ffmpeg makes upright."""
    if suffix == "mkv" and mirrored and rotation in (90, 270):
        pytest.skip("Matroska holds a rotation and one mirroring only")
    path = tmp_path / f"a.{suffix}"
    picture = [np.random.default_rng(0).integers(16, 235, (32, 48)), np.full((16, 24), 128), np.full((16, 24), 128)]
    container = "mp4" if suffix == "mp4" else "matroska"
    encode(
        path, [picture], codec="libx264", container=container, options={"qp": "0"}, matrix=1, full=1,
        display=matrix(*turn),
    )  # fmt: skip
    info = video.probe(path)
    (frame,) = video.frames(path)
    assert (info.height, info.width) == frame.pixels.shape[1:] == ((48, 32) if rotation % 180 else (32, 48))
    assert (info.rotation, info.mirrored) == (rotation, mirrored)
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    command = ["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    grey = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8)
    assert abs(grey.reshape(frame.pixels.shape[1:]).astype(int) - frame.pixels[1]).max() <= 3


def test_another_angle_is_named(tmp_path, encode):
    half = round(ONE * 0.7071)
    display = [half, half, 0, -half, half, 0, 0, 0, 1 << 30]
    encode(tmp_path / "a.mp4", [(100, 128, 128)], codec="libx264", container="mp4", display=display)
    assert "angle" in video.probe(tmp_path / "a.mp4").warnings[0]
