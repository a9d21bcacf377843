from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from narrows.codecs import FSQ, Codec, FactorisedDecoder, FactorisedEncoder, SpaceTimeContext
from narrows.recipes.data.synthetic import write_synthetic_videos
from narrows.recipes.settings import Adversarial, Schedule, VideoData
from narrows.recipes.training import video_rate_distortion, video_tokenizer
from narrows.recipes.training.base import Training
from narrows.recipes.training.run import run
from narrows.recipes.training.video_rate_distortion import VideoRateDistortionRecipe
from narrows.recipes.training.video_tokenizer import VideoTokenizerRecipe
from narrows.recipes.video import Network, video

SIZES: dict[str, Any] = {"widths": (8, 8), "depths": (1, 1)}
Recipe = VideoRateDistortionRecipe | VideoTokenizerRecipe


def files(data: VideoData) -> VideoRateDistortionRecipe:
    torch.manual_seed(0)
    model = SpaceTimeContext((3, 5), 1, (8, 8), 8)
    codec = Codec(FactorisedEncoder(8, **SIZES), model, FactorisedDecoder(8, **SIZES))
    recipe = video(data=data)
    assert isinstance(recipe, VideoRateDistortionRecipe)
    return replace(recipe, codec=codec, entropy_model_steps=2)


def tokens(data: VideoData) -> VideoTokenizerRecipe:
    torch.manual_seed(0)
    codec = Codec(FactorisedEncoder(8, **SIZES), FSQ(8, (5, 5, 5)), FactorisedDecoder(8, **SIZES))
    recipe = video(Network(bottleneck="fsq"), data, adversarial=Adversarial(start=3, width=4))
    assert isinstance(recipe, VideoTokenizerRecipe)
    return replace(recipe, codec=codec)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VideoData:
    """Clips, of which few are used before and after the training."""
    for module in (video_rate_distortion, video_tokenizer):
        monkeypatch.setattr(module, "INITIALIZATION_CROPS", 6)
    monkeypatch.setattr(video_rate_distortion, "TABLE_CLIPS", 1)
    monkeypatch.setattr(video_rate_distortion, "VALIDATION_SIDE", 32)
    monkeypatch.setattr(video_rate_distortion, "VALIDATION_FRAMES", 8)
    write_synthetic_videos(tmp_path / "data")
    return VideoData(tmp_path / "data", tmp_path / "data", frames=8, crop_size=32, batch_size=2)


@pytest.mark.parametrize("make", [files, tokens])
def test_resumed_run_equals_an_uninterrupted_one(
    make: Callable[[VideoData], Recipe], data: VideoData, tmp_path: Path
) -> None:
    """Bit for bit, with random qualities, still beginnings and noise in each batch."""

    def trained(name: str, steps: int) -> dict[str, torch.Tensor]:
        recipe = replace(make(data), schedule=Schedule(steps, 1, 0.0, 0.02, 2))
        run(recipe, tmp_path / name, change=True, accumulate=2)
        state: dict[str, torch.Tensor] = torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"]
        return state

    whole = trained("whole", 6)
    trained("parts", 3)
    parts = trained("parts", 6)
    for name, value in whole.items():
        assert torch.equal(parts[name], value), name


@pytest.mark.parametrize("make", [files, tokens])
def test_validation_counts_the_frames_of_the_clip_alone(
    make: Callable[[VideoData], Recipe], data: VideoData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the copies of the first frame that the codec codes with it."""
    training: Any = make(data).training()
    training.start()
    logged, samples = dict[str, torch.Tensor](), []
    monkeypatch.setattr(Training, "log_item", lambda self, values: logged.update(values))
    monkeypatch.setattr(Training, "log_sample", lambda self, original, decoded: samples.append((original, decoded)))
    clip = torch.randint(256, (1, 3, 1, 32, 32), dtype=torch.uint8)
    training.eval()
    with torch.no_grad():
        training.validation_step(clip, 0)
        original, decoded = samples[0]
        assert original.shape == (3, 1, 32, 32)
        assert {x.shape for x in decoded.values()} == {original.shape}
        if make is files:
            x = clip.float().expand(-1, -1, 4, -1, -1) / 127.5 - 1
            bits = training.ema(x, 8).quantized.bits.item()
            assert logged["bits_per_pixel-2"].item() == pytest.approx(bits / 32**2)
        else:
            error = (decoded["decoded"] - original).square().mean()
            assert logged["psnr"].item() == pytest.approx(10 * torch.log10(4 / error).item())


@pytest.mark.parametrize("make", [files, tokens])
def test_some_crops_begin_with_a_still_image(make: Callable[[VideoData], Recipe], data: VideoData) -> None:
    training: Any = make(data).training()
    x = torch.randn(2, 3, 8, 32, 32)
    torch.manual_seed(0)
    still = 0
    for _ in range(100):
        y = training.prepared(x)
        assert torch.equal(y[:, :, 3:].sum(0), x[:, :, 3:].sum(0))
        begins_still = (y[:, :, :3] == y[:, :, 3:4]).flatten(1).all(1)
        assert all(
            still_one or any(torch.equal(one, each) for each in x)
            for one, still_one in zip(y, begins_still, strict=True)
        )
        still += int(begins_still.sum())
    assert 30 <= still <= 70  # a quarter of 200


def test_errors_of_frames_that_are_independent_count_once_in_each_term(data: VideoData) -> None:
    training = files(data).training()
    errors = training.errors(torch.randn(2, 3, 40, 64, 64))
    assert errors["squared_error"].tolist() == pytest.approx([1, 1], rel=0.02)
    assert (errors["flicker"] / 0.1).tolist() == pytest.approx([1, 1], rel=0.02)
    constant = torch.randn(2, 3, 1, 64, 64).expand(-1, -1, 40, -1, -1)
    assert training.errors(constant)["flicker"].tolist() == [0, 0]
