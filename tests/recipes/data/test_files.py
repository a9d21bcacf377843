import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from narrows.codecs import distributed as ranks
from narrows.errors import InputError
from narrows.media import audio
from narrows.recipes.data.audio import AudioCrops, AudioFiles
from narrows.recipes.data.images import ImageCrops, ImageFiles
from narrows.recipes.data.loading import StepBatches, whole_loader
from narrows.recipes.data.synthetic import write_synthetic_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_synthetic_images(tmp_path / "data")
    return tmp_path / "data"


def truncate(path: Path, fraction: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])


def test_files_that_cannot_be_read_are_skipped_and_named_in_one_line(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "abcdefg":
        (folder / f"{name}.png").write_bytes(b"no image")
    files = ImageFiles(folder)
    assert [path.name for path in files.paths] == ["waves-0.png", "waves-1.png", "waves-2.png"]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(
        f"skipped 7 of 10 images in {folder} (a.png, b.png, c.png, d.png, e.png, ...): "
    )
    assert "\n" not in record.getMessage()


def test_a_folder_with_unreadable_files_only_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no audio")
    with pytest.raises(InputError, match=r"expected audio files that can be read in .*, got 1 that cannot: .*a\.wav"):
        AudioFiles(tmp_path, 16_000)


def test_a_file_without_samples_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    audio.write(tmp_path / "full.wav", np.zeros((1, 800), np.float32), 8000)
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", 0)
    (tmp_path / "empty.wav").write_bytes(header)
    assert [path.name for path in AudioFiles(tmp_path, 8000).paths] == ["full.wav"]
    assert "empty.wav" in caplog.text


def test_files_that_cannot_be_decoded_are_named_once_and_others_are_drawn(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files, again = ImageFiles(folder), ImageFiles(folder)
    truncate(folder / "waves-1.png")
    crops = [ImageCrops(files, 32, 40, (0,))[index] for index in range(40)]
    assert all(isinstance(crop, Tensor) for crop in crops)
    assert [record.getMessage().startswith("skipped waves-1.png: ") for record in caplog.records] == [True]
    same = ImageCrops(again, 32, 40, (0,))
    assert all(torch.equal(same[index], crop) for index, crop in reversed(list(enumerate(crops))))
    assert len(list(whole_loader(files))) == 2


def test_a_folder_with_damaged_files_only_is_rejected_when_they_are_drawn(folder: Path) -> None:
    images = ImageFiles(folder)
    for path in folder.iterdir():
        truncate(path)
    with pytest.raises(InputError, match=r"expected a file that can be decoded beside .*waves-0.png, got none"):
        ImageCrops(images, 32, 1, (0,))[0]


def test_ranks_share_the_files_and_the_crops(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, seen, batches = ImageFiles(folder), [], []
    monkeypatch.setattr(ranks, "count", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        seen.append([batch for batch in whole_loader(files)])
        sampler = StepBatches(lambda: range(3, 5), 2)
        batches.append(list(sampler))
        assert len(sampler) == 2
    assert [len(items) for items in seen] == [2, 1]
    assert torch.equal(seen[1][0][0], torch.from_numpy(files[1]))
    assert batches == [[[12, 13], [16, 17]], [[14, 15], [18, 19]]]


def test_crops_of_damaged_recordings(tmp_path: Path) -> None:
    audio.write(tmp_path / "a.flac", 0.1 * np.random.default_rng(0).standard_normal((1, 9000)).astype(np.float32), 8000)
    audio.write(tmp_path / "b.flac", 0.1 * np.ones((1, 9000), np.float32), 8000)
    files = AudioFiles(tmp_path, 8000)
    truncate(tmp_path / "a.flac", 0.6)
    assert AudioCrops(files, 500, 4, (0,))[0].shape == (1, 500)
