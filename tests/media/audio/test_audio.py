import io
import subprocess
import sys
import tracemalloc
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import soundfile
import torch

from narrows.errors import InputError
from narrows.media import audio

LOSSLESS = ["wav", "flac"]
FORMATS = [*LOSSLESS, "ogg", "opus", "mp3"]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [1, 1105, 30_000])
def test_what_is_written_is_read(tmp_path, noise, suffix, channels, samples):
    path, given = tmp_path / f"a.{suffix}", noise[:channels, :samples]
    audio.write(path, given, 48_000)
    back = audio.read(path)
    assert back.samples.dtype == np.float32
    assert back.samples.shape == given.shape
    assert back.sample_rate == 48_000
    info = audio.probe(path)
    assert (info.sample_rate, info.channels, info.samples) == (48_000, channels, samples)
    assert info.seconds == samples / 48_000
    if samples > 10_000:
        assert np.corrcoef(back.samples[0], given[0])[0, 1] > 0.9  # the same audio, at the same position


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_the_16_bit_grid_survives(tmp_path, suffix):
    grid = np.arange(-(2**15), 2**15, dtype=np.float32)[None] / 2**15
    audio.write(tmp_path / f"a.{suffix}", grid, 44_100)
    assert np.array_equal(audio.read(tmp_path / f"a.{suffix}").samples, grid)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_the_24_bit_grid_survives(tmp_path, suffix):
    grid = np.append(np.arange(-(2**23), 2**23, 997), 2**23 - 1)[None] / np.float32(2**23)
    audio.write(tmp_path / f"a.{suffix}", grid, 44_100, encoding="pcm24")
    assert np.array_equal(audio.read(tmp_path / f"a.{suffix}").samples, grid)


def test_floats_survive_over_full_scale(tmp_path, noise):
    audio.write(tmp_path / "a.wav", 10 * noise, 44_100, encoding="float32")
    assert np.array_equal(audio.read(tmp_path / "a.wav").samples, 10 * noise)


@pytest.mark.parametrize(("encoding", "step"), [("pcm16", 2**-15), ("pcm24", 2**-23)])
def test_integers_clip_and_round(tmp_path, encoding, step):
    given = np.array([[-7.0, -1.0, 0.6 * step, 0.4 * step, 1.0, 7.0]])
    audio.write(tmp_path / "a.wav", given, 8_000, encoding=encoding)
    assert audio.read(tmp_path / "a.wav").samples.tolist() == [[-1, -1, step, 0, 1 - step, 1 - step]]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("length", [1, 777, 65_537])
def test_blocks_make_up_the_file(tmp_path, noise, suffix, length):
    path = tmp_path / f"a.{suffix}"
    audio.write(path, noise[:, :5_000], 24_000)
    blocks = list(audio.blocks(path, length))
    assert all(block.shape == (2, length) for block in blocks[:-1])
    assert np.array_equal(np.concatenate(blocks, axis=1), audio.read(path).samples)


def test_the_block_that_ends_with_the_file_is_the_last(tmp_path, noise):
    audio.write(tmp_path / "a.wav", noise[:, :300], 24_000)
    assert [block.shape[1] for block in audio.blocks(tmp_path / "a.wav", 100)] == [100, 100, 100]


def test_an_iterable_of_blocks_is_written(tmp_path, noise):
    parts = (noise[:, first : first + 999] for first in range(0, 30_000, 999))
    audio.write(tmp_path / "parts.flac", parts, 24_000)
    audio.write(tmp_path / "whole.flac", noise, 24_000)
    assert (tmp_path / "parts.flac").read_bytes() == (tmp_path / "whole.flac").read_bytes()


def test_memory_does_not_grow_with_length(tmp_path):
    second = np.float32(0.1 * np.sin(np.arange(16_000) / 10))[None]
    tracemalloc.start()
    audio.write(tmp_path / "long.wav", (second for _ in range(600)), 16_000)  # 38 MB as float32
    samples = sum(block.shape[1] for block in audio.blocks(tmp_path / "long.wav", 16_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert samples == 600 * 16_000
    assert peak < 2_000_000


def test_a_tensor_is_an_array_and_not_an_iterable_of_blocks(tmp_path, noise, error_message):
    audio.write(tmp_path / "a.wav", torch.from_numpy(noise), 24_000, encoding="float32")
    assert np.array_equal(audio.read(tmp_path / "a.wav").samples, noise)
    graph = torch.from_numpy(noise).requires_grad_()
    assert "detach" in error_message(audio.write, tmp_path / "b.wav", graph, 24_000, error=InputError)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(100), "shape (100,)"),
        (np.zeros((1, 2, 3)), "shape (1, 2, 3)"),
        (np.zeros((2, 0)), "no samples"),
        (iter([]), "shape (0,)"),
        (np.zeros((2, 100), np.int16), "divide int16 by 32768"),
        (np.zeros((44_100, 2)), "expected 1 to 64 channels, got 44100"),
        (np.zeros((0, 5)), "expected 1 to 64 channels, got 0"),
        (np.full((1, 5), 1e39), "infinity at sample 0"),
        ([np.zeros((2, 100)), np.zeros((1, 100))], "expected samples (2, n), got shape (1, 100)"),
        ([np.zeros((2, 100)), np.zeros((100, 2))], ".T"),
    ],
)
def test_other_shapes_and_types_are_errors(tmp_path, error_message, samples, message):
    assert message in error_message(audio.write, tmp_path / "a.wav", samples, 24_000, error=InputError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_the_first_bad_sample_is_named(tmp_path, noise, error_message, value, name):
    noise[1, 700], noise[0, 701] = value, value
    parts = [noise[:, :600], noise[:, 600:]]
    line = error_message(audio.write, tmp_path / "a.wav", parts, 24_000, error=InputError)
    assert f"{name} at sample 700 of channel 1 (both counted from 0)" in line
    assert list(tmp_path.iterdir()) == []
    soundfile.write(tmp_path / "b.wav", noise.T, 24_000, subtype="FLOAT")
    line = error_message(audio.read, tmp_path / "b.wav")
    assert f"expected finite samples, got {name} at sample 700 of channel 1" in line
    assert "b.wav'; repair" in line
    blocks = audio.blocks(tmp_path / "b.wav", 500)
    assert next(blocks).shape == (2, 500)
    assert f"{name} at sample 700 of channel 1" in error_message(next, blocks)


def test_results_are_values():
    info = audio.AudioInfo(48_000, 2, 24_000, "wav", "pcm_16")
    assert info.seconds == 0.5
    with pytest.raises(FrozenInstanceError):
        info.samples = 1


def test_import_is_light():
    code = "import sys, narrows.media.audio; print([name for name in ('torch', 'av') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    "wrong", [b"RIFF" * 9999, "4" * 9999, None, True, 0, 10**5000, [1] * 9999], ids=lambda value: type(value).__name__
)
def test_numbers_are_checked_by_type(wrong):
    audio.write(file := io.BytesIO(), sound := np.zeros((1, 99), np.float32), 8000, format="wav")
    for call in (
        lambda: list(audio.blocks(file.getvalue(), wrong if wrong != 10**5000 else 0)),
        lambda: audio.Audio(sound, 8000).resampled(wrong),
        lambda: audio.write(io.BytesIO(), sound, wrong, format="wav"),
        lambda: audio.write(io.BytesIO(), sound, 8000, format="wav", encoding=wrong or "pcm17"),
    ):
        with pytest.raises(InputError, match=r"expected .*, got") as caught:
            call()
        assert len(str(caught.value)) < 200
