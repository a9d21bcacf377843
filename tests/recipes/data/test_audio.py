from pathlib import Path

import numpy as np
import pytest
import torch

from narrows.errors import InputError
from narrows.media import audio as media
from narrows.recipes.data.audio import AudioCrops, AudioFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "deep").mkdir()
    media.write(tmp_path / "a.wav", 0.1 * rng.standard_normal((1, 4000)).astype(np.float32), 8000)
    media.write(tmp_path / "deep" / "b.flac", 0.1 * rng.standard_normal((2, 32_000)).astype(np.float32), 16_000)
    (tmp_path / "notes.txt").write_text("no audio")
    return tmp_path


def test_files_are_mono_at_the_given_rate(folder: Path) -> None:
    files = AudioFiles(folder, 16_000)
    assert [path.name for path in files.paths] == ["a.wav", "b.flac"]
    assert [files[i].shape for i in (0, 1)] == [(8000,), (32_000,)]
    assert files[1].dtype == np.float32
    np.testing.assert_array_equal(files[1], AudioFiles(folder, 16_000)[1])  # cached, and decoded again


def test_crops_depend_on_seed_and_index_only(folder: Path) -> None:
    files = AudioFiles(folder, 16_000)
    crops, same, other = (AudioCrops(files, 3200, 20, seed, (0.9, 1.0, 1.1)) for seed in ((0, 1), (0, 1), (0, 2)))
    assert len(crops) == 20
    drawn = [crops[i] for i in range(20)]
    assert all(x.shape == (1, 3200) and x.abs().max() < 1 and torch.isfinite(x).all() for x in drawn)
    assert all(torch.equal(x, same[i]) for i, x in enumerate(drawn))
    assert not any(torch.equal(x, other[i]) for i, x in enumerate(drawn))


def test_short_files_are_padded(folder: Path) -> None:
    assert AudioCrops(AudioFiles(folder, 16_000), 100_000, 1, (0,))[0].shape == (1, 100_000)


def test_folder_without_audio_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected audio files in .*, got none"):
        AudioFiles(tmp_path, 16_000)
