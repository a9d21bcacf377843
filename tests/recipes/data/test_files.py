import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from narrows.codecs import distributed as ranks
from narrows.errors import InputError
from narrows.media import audio
from narrows.recipes.data import files as module
from narrows.recipes.data.audio import AudioCrops, AudioFiles
from narrows.recipes.data.images import ImageCrops, ImageFiles
from narrows.recipes.data.loading import StepBatches, crop_loader, whole_loader
from narrows.recipes.data.synthetic import write_synthetic_audio, write_synthetic_images
from narrows.recipes.settings import AudioData


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_synthetic_images(tmp_path / "data")
    return tmp_path / "data"


def truncate(path: Path, fraction: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    return [record.getMessage() for record in caplog.records]


def test_files_that_cannot_be_read_are_skipped_and_counted(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in "abcdefg":
        (folder / f"{name}.png").write_bytes(b"no image")
    files = ImageFiles(folder)
    crops = [ImageCrops(files, 32, 200, (0,))[index] for index in range(200)]
    assert all(isinstance(crop, Tensor) for crop in crops)
    files.report_skipped()
    files.report_skipped()
    first, summary = messages(caplog)
    assert first.startswith("skipped ")
    assert first.endswith("others that cannot be read are counted")
    names = "a.png, b.png, c.png, d.png, e.png, ..."
    assert summary == f"skipped 7 of 10 images in {folder} that cannot be read: {names}"
    again = ImageCrops(ImageFiles(folder), 32, 200, (0,))
    assert all(torch.equal(again[index], crops[index]) for index in reversed(range(200)))
    assert len(list(whole_loader(files))) == 3


@pytest.mark.parametrize("count", [1, 3])
def test_sources_without_a_readable_file_are_rejected(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_TRIES", 20)
    for index in range(count):
        (tmp_path / f"{index}.wav").write_bytes(b"no audio" * index)
    expected = rf"expected audio files that can be read in {tmp_path}, got {count} that cannot: .*\.wav"
    with pytest.raises(InputError, match=expected) as raised:
        AudioFiles(tmp_path, 16_000)
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="expected at least one source of audio files, got none"):
        AudioFiles([], 16_000)


def test_a_manifest_of_missing_files_beside_a_good_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_synthetic_audio(tmp_path / "data", 8000)
    (tmp_path / "list.csv").write_text("path\nmissing.wav\ndata/vowel-0.wav\nnor-this.wav\n")
    files = AudioFiles(tmp_path / "list.csv", 8000)
    assert all(AudioCrops(files, 100, 200, (0,))[index].abs().max() > 0 for index in range(200))
    assert [index for index, _ in files.readable(range(3))] == [1]
    files.report_skipped()
    assert messages(caplog)[-1].endswith("that cannot be read: missing.wav, nor-this.wav")


def test_a_file_without_samples_and_an_empty_file_are_skipped(tmp_path: Path) -> None:
    audio.write(tmp_path / "full.wav", np.zeros((1, 800), np.float32), 8000)
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", 0)
    (tmp_path / "header.wav").write_bytes(header)
    (tmp_path / "empty.wav").write_bytes(b"")
    files = AudioFiles(tmp_path, 8000)
    assert [files.path(index).name for index, _ in files.readable(range(3))] == ["full.wav"]


def test_files_that_become_unreadable_end_the_run_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TRIES", 20)
    images = ImageFiles(folder)
    for path in folder.iterdir():
        truncate(path)
    images._cache.clear()
    crops = ImageCrops(images, 32, 1, (0,))
    for workers in (0, 1):
        with pytest.raises(InputError, match=r"^expected images that can be read in .*, got 3 that cannot: ") as raised:
            next(iter(DataLoader(crops, num_workers=workers)))
        assert "\n" not in str(raised.value)


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


def test_of_very_many_files_some_are_used_for_validation(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WHOLE", 2)
    assert len(list(whole_loader(ImageFiles(folder)))) == 2


def test_batches_do_not_depend_on_workers_and_on_what_came_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_synthetic_audio(tmp_path / "data", 8000)
    (tmp_path / "data" / "broken.wav").write_bytes(b"no audio")
    loaded = []
    for workers, first in ((0, 0), (2, 0), (1, 4)):
        files = AudioFiles(tmp_path / "data", 8000)
        crops = AudioCrops(files, 400, 40, (0,), (0.9, 1.1))
        data = AudioData(batch_size=4, workers=workers)
        loaded.append(list(crop_loader(crops, data, lambda first=first: range(first, 10))))
        caplog.clear()
        files.report_skipped()  # what other processes have skipped
        assert [message.endswith("broken.wav") for message in messages(caplog)] == [True]
    assert len(loaded[0]) == 10
    assert torch.equal(torch.stack(loaded[0]), torch.stack(loaded[1]))
    assert torch.equal(torch.stack(loaded[0][4:]), torch.stack(loaded[2]))
