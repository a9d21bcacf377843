from pathlib import Path

import numpy as np
import pytest
import soundfile
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
    assert [files.path(index).name for index in (0, 1)] == ["a.wav", "b.flac"]
    assert [files[index].shape for index in (0, 1)] == [(1, 8000), (1, 32_000)]
    assert files[1].dtype == np.float32
    np.testing.assert_array_equal(files[1][0], media.read(folder / "deep" / "b.flac").samples.mean(0))


def test_channels(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 900)).astype(np.float32)
    for count in (1, 2, 3):
        media.write(tmp_path / f"{count}.wav", samples[:count], 8000, encoding="float32")
    mono, stereo = AudioFiles(tmp_path, 8000), AudioFiles(tmp_path, 8000, 2)
    np.testing.assert_allclose(mono[2], samples.mean(0, keepdims=True), atol=1e-6)
    for index, expected in enumerate((samples[[0, 0]], samples[:2], samples[:2])):
        np.testing.assert_array_equal(stereo[index], expected)
    crops = AudioCrops(stereo, 300, 8, (0,), (0.9, 1.1))
    assert all(crops[index].shape == (2, 300) for index in range(8))


def test_crops_depend_on_seed_and_index_only(folder: Path) -> None:
    files = AudioFiles(folder, 16_000)
    crops, same, other = (AudioCrops(files, 3200, 20, seed, (0.9, 1.0, 1.1)) for seed in ((0, 1), (0, 1), (0, 2)))
    assert len(crops) == 20
    drawn = [crops[i] for i in range(20)]
    assert all(x.shape == (1, 3200) and x.abs().max() < 1 and torch.isfinite(x).all() for x in drawn)
    assert all(torch.equal(same[i], drawn[i]) for i in reversed(range(20)))
    assert not any(torch.equal(x, other[i]) for i, x in enumerate(drawn))


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3"])
@pytest.mark.parametrize("place", [0.0, 0.4, 1.0])
def test_crops_are_parts_of_the_whole(tmp_path: Path, suffix: str, place: float) -> None:
    rng = np.random.default_rng(0)
    noise = np.cumsum(rng.standard_normal((2, 60_000)), 1)
    media.write(tmp_path / f"a{suffix}", (noise / np.abs(noise).max()).astype(np.float32), 24_000)
    files = AudioFiles(tmp_path, 24_000, 2)
    whole, crop = files[0], files.read_crop(str(tmp_path / f"a{suffix}"), 4800, place)
    assert crop.shape == (2, 4800)
    start = round(place * (whole.shape[1] - 4800))
    beside = 0 if suffix in (".wav", ".flac") else 50  # in other formats the reader finds about the place
    starts = range(max(0, start - beside), min(start + beside, whole.shape[1] - 4700) + 1)
    assert min(np.abs(crop[:, :4700] - whole[:, begin : begin + 4700]).max() for begin in starts) < 1e-3


@pytest.mark.parametrize("speed", [1.0, 0.9])
@pytest.mark.parametrize("place", [0.0, 0.4, 1.0])
def test_other_rates_are_resampled_without_edges(tmp_path: Path, speed: float, place: float) -> None:
    t = np.arange(44_100 * 2) / 44_100
    media.write(tmp_path / "a.wav", (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)[None], 44_100)
    files = AudioFiles(tmp_path, 16_000)
    crop = files.read_crop(str(tmp_path / "a.wav"), 8000, place, speed)[0]
    begin = place * (2 - 0.5 * speed)
    expected = 0.5 * np.sin(2 * np.pi * 440 * (begin + speed * np.arange(8000) / 16_000))
    inner = slice(100, -100) if place != 0.4 else slice(None)  # the recording itself begins and ends abruptly
    np.testing.assert_allclose(crop[inner], expected[inner], atol=0.02)


def test_short_files_are_padded(folder: Path) -> None:
    crop = AudioCrops(AudioFiles(folder / "a.wav", 16_000), 100_000, 1, (0,))[0]
    assert crop.shape == (1, 100_000)
    assert crop[0, :7900].abs().max() > 0
    assert crop[0, 8100:].abs().max() == 0


def test_silence_stays_silent(tmp_path: Path) -> None:
    media.write(tmp_path / "a.wav", np.zeros((1, 4000), np.float32), 8000)
    crops = AudioCrops(AudioFiles(tmp_path, 8000), 400, 5, (0,), (0.9, 1.0))
    assert all(torch.equal(crops[index], torch.zeros(1, 400)) for index in range(5))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_crops_with_samples_that_are_not_finite_are_drawn_again(
    tmp_path: Path, value: float, caplog: pytest.LogCaptureFixture
) -> None:
    samples = np.full(40_000, 0.1, np.float32)
    soundfile.write(tmp_path / "good.wav", samples, 8000, "FLOAT")
    samples[20_000:] = value
    soundfile.write(tmp_path / "half.wav", samples, 8000, "FLOAT")
    files = AudioFiles(tmp_path, 8000)
    crops = AudioCrops(files, 800, 60, (0,))
    drawn = [crops[index] for index in range(60)]
    assert all(torch.isfinite(crop).all() for crop in drawn)
    again = AudioCrops(AudioFiles(tmp_path, 8000), 800, 60, (0,))
    assert all(torch.equal(again[index], drawn[index]) for index in reversed(range(60)))
    files.report_skipped()
    assert caplog.records[-1].getMessage().startswith("skipped 1 of 2 audio files")


def test_truncated_recordings_do_not_end_a_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a.flac", "b.flac"):
        media.write(tmp_path / name, 0.1 * rng.standard_normal((1, 9000)).astype(np.float32), 8000)
    data = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(data[: int(0.6 * len(data))])
    crops = AudioCrops(AudioFiles(tmp_path, 8000), 500, 40, (0,))
    assert all(crops[index].shape == (1, 500) for index in range(40))


def test_folder_without_audio_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a folder or glob of audio files .*, got none"):
        AudioFiles(tmp_path, 16_000)
