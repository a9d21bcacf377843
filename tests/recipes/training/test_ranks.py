"""Training on two processes: all ranks hold the same weights, and the first one alone writes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import narrows

SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from narrows.codecs import (
    Codec, FactorisedDecoder, FactorisedEncoder, FrameDecoder, FrameEncoder, LappedDecoder, LappedEncoder, LDMDecoder,
    LDMEncoder, ResidualVQ, SpaceChannelContext, SpaceTimeContext, VectorQuantizePytorch,
)
from narrows.codecs import distributed as ranks
from narrows.recipes.discriminators.multi_period import MultiPeriodDiscriminator
from narrows.recipes.discriminators.patchgan import PatchGANDiscriminator
from narrows.recipes.image import LAMBDAS, image
from narrows.recipes.image_tokenizer import image_tokenizer
from narrows.recipes.losses.contrastive import ContrastiveLoss
from narrows.recipes.losses.frames import FrameMagnitudeLoss
from narrows.recipes.losses.images import LaplacianPyramidLoss
from narrows.recipes.losses.stft import MultiResolutionSTFTLoss
from narrows.recipes.settings import Adversarial, Prediction
from narrows.recipes.speech import speech
from narrows.recipes.training.run import run
from narrows.recipes.video import video

torch.set_num_threads(1)
folder = Path(sys.argv[1])
STEPS, DAMAGED = 20, 13  # at step 13 the second rank gets NaN


class Teacher(nn.Module):
    dim = 6

    def forward(self, x):
        return torch.stack([x.amin((1, 2, 3)), x.amax((1, 2, 3)), *x.mean((2, 3)).T, x.std((1, 2, 3))], 1)


def small_speech():
    codec = Codec(FrameEncoder(16, 16, 1), ResidualVQ(16, 3, 16, 4), FrameDecoder(16, 16, 1, iterations=1))
    return replace(
        speech(prediction=Prediction(steps=0)),
        codec=codec,
        losses={"spectral": (1.0, MultiResolutionSTFTLoss(16_000, [(512, 40)]))},
        frame_losses={"frames": (1.0, FrameMagnitudeLoss())},
        discriminators=list(MultiPeriodDiscriminator((2,), 2)),
        pca_initialization=False,
        signal_loss_start=4,
        adversarial=Adversarial(start=8),
    )


def small_image():
    model = SpaceChannelContext((3, 5), 1, (8, 8))
    codec = Codec(LappedEncoder(8, 6, 2, 1), model, LappedDecoder(8, 6, 2, 2, 1))
    return replace(image(), codec=codec, entropy_model_steps=6)


def small_video():
    sizes = {"widths": (8, 8), "depths": (1, 1)}
    model = SpaceTimeContext((3, 5), 1, (8, 8), 8)
    codec = Codec(FactorisedEncoder(8, **sizes), model, FactorisedDecoder(8, **sizes))
    return replace(video(), codec=codec, entropy_model_steps=6)


def small_image_tokenizer():
    options = (("codebook_size", 16), ("kmeans_init", True), ("threshold_ema_dead_code", 2), ("num_quantizers", 2),
               ("quantize_dropout", True))
    bottleneck = VectorQuantizePytorch(8, "ResidualVQ", options)
    codec = Codec(LDMEncoder(8, 8, (1, 2, 2), 1, 1, 4), bottleneck, LDMDecoder(8, 8, (1, 2, 2), 1, 1, 4))
    return replace(
        image_tokenizer(),
        codec=codec,
        losses={"l1": (1.0, nn.L1Loss()), "perceptual": (0.5, LaplacianPyramidLoss(3))},
        latent_losses={"contrastive": (1.0, ContrastiveLoss(Teacher(), 8))},
        discriminators=[PatchGANDiscriminator(4)],
        adversarial=Adversarial(start=8),
    )


def observed(training, seen):
    train = training.training_step

    def training_step(x, batch_idx):
        step = int(training.step)
        seen["data"].append(x.sum().item())
        seen["noise"].append(torch.rand(1).item())
        if step != DAMAGED:
            return train(x, batch_idx)
        before = [p.clone() for p in training.codec.parameters()]
        if training.recipe.name == "my-image":  # a loss that is not finite, of finite gradients
            add = training.add_gradients
            training.add_gradients = lambda optimizer, loss: add(optimizer, loss + (torch.inf if ranks.rank() else 0.0))
            train(x, batch_idx)
            training.add_gradients = add
        else:
            train(x + (torch.nan if ranks.rank() == 1 else 0.0), batch_idx)
        seen["skipped"] = all(torch.equal(p, old) for p, old in zip(training.codec.parameters(), before))

    training.training_step = training_step
    return training


if __name__ == "__main__":
    for make in (small_speech, small_image, small_image_tokenizer, small_video):
        recipe = make().smoke()
        phases = {name: getattr(make(), name) for name in ("signal_loss_start", "adversarial", "entropy_model_steps")
                  if hasattr(recipe, name)}
        schedule = replace(recipe.schedule, steps=STEPS, validate_every=10)
        rank = int(not ranks.is_launched_first())
        recipe = replace(recipe, schedule=schedule, **phases).on_synthetic_data(folder / recipe.name / f"data-{rank}")
        seen, kind = {"data": [], "noise": []}, type(recipe)
        made = kind.training
        kind.training = lambda self, made=made, seen=seen: seen.setdefault("training", observed(made(self), seen))
        seen["returned"] = str(run(recipe, folder / recipe.name / "run", devices=2))
        seen["state"] = {k: v for k, v in seen.pop("training").state_dict().items()}
        torch.save(seen, folder / recipe.name / f"rank-{rank}.pt")
"""
RECIPES = ("my-speech", "my-image", "my-image-tokenizer", "my-video")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, two_ranks: Callable[..., None]
) -> Callable[[str], tuple[Path, list[dict[str, Any]]]]:
    """trained(recipe) -> folder of its run, and what each rank has seen."""
    folder = tmp_path_factory.mktemp("ranks")
    two_ranks(SCRIPT, str(folder))

    def results(recipe: str) -> tuple[Path, list[dict[str, Any]]]:
        seen = [torch.load(folder / recipe / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]
        return folder / recipe / "run", seen

    return results


@pytest.mark.parametrize("recipe", RECIPES)
def test_ranks_hold_the_same_weights_and_statistics(recipe: str, trained: Callable[..., Any]) -> None:
    _, (first, second) = trained(recipe)
    assert first["state"].keys() == second["state"].keys()
    for name, value in first["state"].items():
        assert torch.equal(value, second["state"][name]), name
        assert value.isfinite().all(), name


@pytest.mark.parametrize("recipe", RECIPES)
def test_ranks_have_their_own_data_and_noise(recipe: str, trained: Callable[..., Any]) -> None:
    _, (first, second) = trained(recipe)
    for kind in ("data", "noise"):
        drawn = first[kind] + second[kind]
        assert len(first[kind]) == len(second[kind]) == 20
        assert len(set(drawn)) == 40, kind


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_that_is_not_finite_on_one_rank_is_skipped_on_all(recipe: str, trained: Callable[..., Any]) -> None:
    assert [seen["skipped"] for seen in trained(recipe)[1]] == [True, True]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_first_rank_alone_writes(recipe: str, trained: Callable[..., Any]) -> None:
    folder, seen = trained(recipe)
    assert [rank["returned"] for rank in seen] == [str(folder / "checkpoint")] * 2
    files = ["best", "checkpoint", "last.ckpt", "metrics.jsonl", "recipe.json", "report.html", "run.lock", "samples"]
    assert sorted(path.name for path in folder.iterdir()) == files
    samples = {path.name.split("-")[0] for path in (folder / "samples" / "step-20").iterdir()}
    assert samples == ({"1"} if recipe == "my-speech" else {"1", "3"})  # of the first rank, which has every other item
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == [10, 20]
    tokenizer = narrows.load(folder / "checkpoint")
    assert tokenizer.tables is not None


@pytest.mark.slow
def test_the_command_starts_a_process_for_each_device(tmp_path: Path) -> None:
    """And the second of them prints nothing."""
    (tmp_path / "codec").write_text("from narrows.cli import main\n\nmain()\n")
    arguments = ["train", "image", "--smoke", "--devices", "2", "-o", str(tmp_path)]
    command = [sys.executable, str(tmp_path / "codec"), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained:") == 1
    assert done.stdout.count("validation at step 4") == 1
    assert done.stderr.count("step 4 of 4") == 1
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
    assert narrows.load(tmp_path / "checkpoint").tables is not None
