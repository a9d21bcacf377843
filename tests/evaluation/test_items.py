import hashlib

import numpy as np
import pytest

from narrows.errors import InputError, MediaError
from narrows.evaluation.by_medium import EVALUATIONS
from narrows.evaluation.items import find_items
from narrows.media import audio, image
from narrows.media.audio import Audio
from narrows.media.table import MEDIA


@pytest.fixture
def folder(tmp_path):
    for name in ("b.wav", "a.flac", "sub/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        audio.write(tmp_path / name, 0.1 * np.ones((2, 441), np.float32), 44_100)
    (tmp_path / "notes.txt").write_text("no audio")
    (tmp_path / "empty.wav").write_bytes(b"")
    return tmp_path


def test_items_are_named_below_their_folder_and_sorted(folder):
    found = find_items([folder], MEDIA["audio"])
    assert [item.name for item in found] == ["a.flac", "b.wav", "empty.wav", "sub/c.wav"]
    assert found[0].digest == hashlib.sha256((folder / "a.flac").read_bytes()).hexdigest()
    assert [item.name for item in find_items([folder], MEDIA["audio"], limit=2)] == ["a.flac", "b.wav"]
    assert [item.name for item in find_items([folder / "sub", folder / "b.wav"], MEDIA["audio"])] == ["b.wav", "c.wav"]


def test_links_are_followed_and_hidden_files_ignored(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "d.wav").write_bytes(b"d")
    (folder / "link").symlink_to(other)
    (folder / "up").symlink_to(folder)
    (folder / "._a.flac").write_bytes(b"x")
    names = [item.name for item in find_items([folder], MEDIA["audio"])]
    assert names == ["a.flac", "b.wav", "empty.wav", "link/d.wav", "sub/c.wav"]


def test_single_file_may_have_any_suffix(folder):
    (folder / "a.raw").write_bytes(b"a")
    assert [item.name for item in find_items([folder / "a.raw"], MEDIA["audio"])] == ["a.raw"]


def test_invalid_files_fail_when_read(folder):
    with pytest.raises(MediaError, match="is empty"):
        MEDIA["audio"].read(find_items([folder / "empty.wav"], MEDIA["audio"])[0].path)


def test_invalid_paths_are_rejected(folder):
    with pytest.raises(InputError, match=r"no image file in .*; give folders or files with \.avif"):
        find_items([folder], MEDIA["image"])
    with pytest.raises(InputError, match="there is no file or folder"):
        find_items([folder / "gone"], MEDIA["audio"])
    with pytest.raises(InputError, match="at least 1 item, got 0"):
        find_items([folder], MEDIA["audio"], limit=0)
    audio.write(folder / "sub/b.wav", np.ones((1, 5), np.float32), 8000)
    with pytest.raises(InputError, match=r"both have the name b\.wav"):
        find_items([folder / "sub", folder / "b.wav"], MEDIA["audio"])
    assert len(find_items([folder / "b.wav", folder / "b.wav"], MEDIA["audio"])) == 1


def test_audio_keeps_its_sample_rate_and_channels(folder):
    recording = MEDIA["audio"].read(folder / "a.flac")
    assert (recording.samples.shape, recording.sample_rate) == ((2, 441), 44_100)
    assert recording.amount == pytest.approx(0.01)


def test_greyscale_images_have_three_equal_channels(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    image.write(tmp_path / "grey.png", grey)
    decoded = EVALUATIONS["image"].read(tmp_path / "grey.png", None)
    assert decoded.amount == 12
    assert (decoded.pixels == grey).all()
    assert decoded.pixels.shape == (3, 3, 4)


def test_units():
    assert MEDIA["audio"].rate(1500, 2.0) == 6  # kbit/s
    assert MEDIA["image"].rate(1500, 12_000) == 1  # bit per pixel
    assert MEDIA["audio"].speed(10, 0.5) == 20
    assert MEDIA["image"].speed(3e6, 2) == 1.5


def test_resampling():
    time = np.arange(4000) / 8000
    recording = Audio(np.sin(2 * np.pi * 300 * time)[None].astype(np.float32), 8000)
    twice = recording.resampled(16_000)
    assert (twice.samples.shape, twice.sample_rate, twice.samples.dtype) == ((1, 8000), 16_000, np.float32)
    wanted = np.sin(2 * np.pi * 300 * np.arange(8000) / 16_000)
    assert np.abs(twice.samples[0] - wanted)[500:-500].max() < 1e-3
    assert recording.resampled(8000) is recording
