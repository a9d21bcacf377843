from pathlib import Path

import numpy as np
import pytest
import torch

from narrows.errors import InputError
from narrows.media import audio as media
from narrows.recipes.data.audio import Crops, Recordings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    (tmp_path / "deep").mkdir()
    media.write(tmp_path / "a.wav", 0.1 * draw.standard_normal((1, 4000)).astype(np.float32), 8000)
    media.write(tmp_path / "deep" / "b.flac", 0.1 * draw.standard_normal((2, 32_000)).astype(np.float32), 16_000)
    (tmp_path / "notes.txt").write_text("not sound")
    return tmp_path


def test_recordings_are_mono_at_the_wanted_rate(folder: Path) -> None:
    recordings = Recordings(folder, 16_000)
    assert [path.name for path in recordings.paths] == ["a.wav", "b.flac"]
    assert [recordings[i].shape for i in (0, 1)] == [(8000,), (32_000,)]
    assert recordings[1].dtype == np.float32
    np.testing.assert_array_equal(recordings[1], Recordings(folder, 16_000)[1])  # kept, and read anew


def test_crops_are_drawn_by_seed_and_index(folder: Path) -> None:
    recordings = Recordings(folder, 16_000)
    crops, same, other = (Crops(recordings, 3200, 20, seed, (0.9, 1.0, 1.1)) for seed in ((0, 1), (0, 1), (0, 2)))
    assert len(crops) == 20
    drawn = [crops[i] for i in range(20)]
    assert all(x.shape == (1, 3200) and x.abs().max() < 1 and torch.isfinite(x).all() for x in drawn)
    assert all(torch.equal(x, same[i]) for i, x in enumerate(drawn))
    assert not any(torch.equal(x, other[i]) for i, x in enumerate(drawn))


def test_short_recordings_are_padded(folder: Path) -> None:
    assert Crops(Recordings(folder, 16_000), 100_000, 1, (0,))[0].shape == (1, 100_000)


def test_a_folder_without_sound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sound files below"):
        Recordings(tmp_path, 16_000)
