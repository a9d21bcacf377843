import gc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from narrows.errors import InputError
from narrows.media import video
from narrows.recipes.data import crop_loader, whole_loader
from narrows.recipes.data import videos as module
from narrows.recipes.data.synthetic import write_synthetic_videos
from narrows.recipes.data.videos import VideoCrops, VideoFiles
from narrows.recipes.settings import ImageData


@pytest.fixture
def videos(tmp_path: Path) -> VideoFiles:
    write_synthetic_videos(tmp_path / "data")
    return VideoFiles(tmp_path / "data")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The items of all stretches that are decoded."""
    found, decoded = list[int](), VideoCrops._decoded

    def recorded(self: VideoCrops, item: int, *others: Any) -> Any:
        found.append(item)
        return decoded(self, item, *others)

    monkeypatch.setattr(VideoCrops, "_decoded", recorded)
    return found


Clip = Callable[..., Path]


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """clip(T, H, W): a folder with a lossless clip whose frame t has level 8 t, plus 1 for each four columns."""

    def made(frames: int, height: int, width: int, rate: int = 25) -> Path:
        folder = tmp_path / "clip"
        folder.mkdir()
        levels = 8 * np.arange(frames)[:, None, None, None] + np.arange(width) // 4
        pixels = np.broadcast_to(levels, (frames, 3, height, width)).astype(np.uint8)
        video.write(folder / "a.mkv", pixels, rate=rate)
        return folder

    return made


def levels(crop: torch.Tensor) -> np.ndarray[Any, Any]:
    return ((crop.numpy() + 1) * 127.5).round().astype(int)


def test_clips_are_rgb_frames_in_time(videos: VideoFiles) -> None:
    assert len(videos) == 3
    np.testing.assert_array_equal(videos[1], video.read(videos.path(1)).pixels)
    assert videos.read(videos.source(0), 5).shape == (3, 5, 72, 96)
    assert next(iter(whole_loader(videos))).shape == (1, 3, 20, 72, 96)
    assert videos.measure(videos.source(0)) == 20 * 72 * 96
    assert repr(videos) == f"3 videos in {videos.listing.sources[0]}"


@pytest.mark.parametrize(("frames", "size"), [(8, 16), (1, 32), (30, 50)])
def test_crops_depend_on_seed_and_index_only(videos: VideoFiles, frames: int, size: int) -> None:
    crops, same, other = (VideoCrops(videos, frames, size, 12, seed) for seed in ((0, 1), (0, 1), (0, 2)))
    assert len(crops) == 12
    drawn = [crops[i] for i in range(12)]
    assert all(x.shape == (3, frames, size, size) and x.dtype == torch.float32 and x.abs().max() <= 1 for x in drawn)
    assert all(torch.equal(same[i], drawn[i]) for i in reversed(range(12)))
    assert not all(torch.equal(other[i], drawn[i]) for i in range(12))


def test_crops_are_consecutive_frames_or_every_second_one(clip: Clip) -> None:
    crops = VideoCrops(VideoFiles(clip(24, 20, 40)), 6, 16, 200, (0,))
    found, firsts, signs = set[int](), set[int](), set[int]()
    for index in range(200):
        x = levels(crops[index])[0]
        steps = np.diff(x[:, 8, 8])
        assert np.ptp(steps) <= 1  # 8 levels per frame; 1 of rounding where it is downscaled
        found.add(round(steps.mean() / 8))
        firsts.add(int(x[0, 8, 8]) // 8)
        signs.add(int(np.sign(x[0, 8, -1] - x[0, 8, 0])))
    assert found == {1, 2}
    assert signs == {-1, 1}  # mirrored or not
    assert {0, 18} <= firsts  # from the first to the last place


def test_short_and_small_clips_are_extended(clip: Clip) -> None:
    x = levels(VideoCrops(VideoFiles(clip(3, 6, 4)), 9, 16, 4, (0,))[0])
    assert x.shape == (3, 9, 16, 16)
    np.testing.assert_array_equal(x[0, :, 0, 0] // 8, [0, 1, 2, 1, 0, 1, 2, 1, 0])


def test_a_clip_of_one_frame(clip: Clip) -> None:
    assert np.ptp(levels(VideoCrops(VideoFiles(clip(1, 20, 4)), 5, 16, 1, (0,))[0])) == 0


def test_several_crops_come_from_a_stretch(videos: VideoFiles, counted: list[int]) -> None:
    crops = VideoCrops(videos, 4, 16, 2000, (0,))
    for index in range(module.CROPS * module.STRETCHES):
        crops[index]
    assert len(counted) < 2 * module.STRETCHES
    assert len(crops._stretches) == module.STRETCHES
    assert set(counted) == {0, 1, 2}
    before = len(counted)
    crops[0]
    crops[1000]
    assert before < len(counted) <= before + 2


@pytest.mark.parametrize(("frames", "size"), [(16, 128), (1, 16), (9, 256), (64, 32), (16, 900)])
def test_stretches_are_of_bounded_size(videos: VideoFiles, frames: int, size: int) -> None:
    side, count = VideoCrops(videos, frames, size, 1, (0,))._stretch_size()
    assert count >= frames
    assert side >= size
    assert 3 * side**2 * count <= max(module.STRETCH_BYTES, 3 * size**2 * frames)


def test_a_stretch_is_a_part_of_a_clip(clip: Clip) -> None:
    videos = VideoFiles(clip(20, 30, 40))
    whole = videos[0].transpose(1, 2, 3, 0)
    part = videos.read_stretch(videos.source(0), 5, 16, (1.0, 0.5, 0.0))
    np.testing.assert_array_equal(part, whole[15:, 7:23, :16])
    part = videos.read_stretch(videos.source(0), 30, 64, (0.7, 0.2, 0.1))
    np.testing.assert_array_equal(part, whole)


def test_a_sound_track_may_be_longer(tmp_path: Path) -> None:
    pixels = [np.full((3, 16, 16), level, np.uint8) for level in range(0, 200, 20)]
    silence = video.Sound([np.zeros((1, 80_000), np.float32)], 8000, 1)
    video.write(tmp_path / "a.mkv", pixels, rate=10, sound=silence)
    assert video.VideoReader(tmp_path / "a.mkv").info.duration == Fraction(10)
    videos = VideoFiles(tmp_path / "a.mkv")
    assert videos.read_stretch(videos.source(0), 4, 16, (1.0, 0, 0)).shape == (4, 16, 16, 3)
    assert videos.read_stretch(videos.source(0), 4, 16, (0.2, 0, 0)).shape == (4, 16, 16, 3)


def test_broken_clips_are_left_out(videos: VideoFiles) -> None:
    videos.path(1).write_bytes(videos.path(1).read_bytes()[:3000])
    crops = VideoCrops(videos, 6, 16, 40, (0,))
    assert all(crops[index].shape == (3, 6, 16, 16) for index in range(40))
    assert videos._skipped.tolist() == [0, 1, 0]


def test_folder_without_videos_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a folder or glob of videos .*, got none"):
        VideoFiles(tmp_path)


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_with_workers(videos: VideoFiles, workers: int) -> None:
    crops = VideoCrops(videos, 4, 16, 12, (0,))
    loader: DataLoader[torch.Tensor] = crop_loader(crops, ImageData(batch_size=3, workers=workers), lambda: range(2, 4))
    batches = list(loader)
    assert [batch.shape for batch in batches] == [(3, 3, 4, 16, 16)] * 2
    assert torch.equal(batches[1][2], crops[11])


def test_workers_leave_open_files_of_the_main_process_alone(videos: VideoFiles) -> None:
    left: list[Any] = [video.VideoReader(videos.path(0)).frames()]
    next(left[0])
    left.append(left)  # open, in a cycle that only garbage collection ends
    gc.disable()
    try:
        del left
        data = ImageData(batch_size=1, workers=1)
        loader: DataLoader[torch.Tensor] = crop_loader(Collecting(), data, lambda: range(1))
        loader.timeout = 60
        assert len(list(loader)) == 1
    finally:
        gc.enable()


class Collecting(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> torch.Tensor:
        gc.collect()
        return torch.zeros(1)
