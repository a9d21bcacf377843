"""Two ranks, and two batches per step, train as one rank with a batch twice as large, up to rounding.

Noise, which each rank draws for itself, is left out.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = """
import os, sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from narrows.codecs import (
    FSQ, VQ, Codec, EMACodebook, FrameDecoder, FrameEncoder, LappedDecoder, LappedEncoder, LDMDecoder, LDMEncoder,
    LearnedCodebook, SpaceChannelContext,
)
from narrows.codecs import distributed as ranks
from narrows.codecs.base import Decoder, Encoder
from narrows.parts import part
from narrows.recipes.discriminators.multi_period import MultiPeriodDiscriminator
from narrows.recipes.image import image
from narrows.recipes.image_tokenizer import image_tokenizer
from narrows.recipes.losses.frames import FrameMagnitudeLoss
from narrows.recipes.losses.images import LaplacianPyramidLoss
from narrows.recipes.losses.stft import MultiResolutionSTFTLoss
from narrows.recipes.settings import Adversarial, AudioData, ImageData, Prediction, Schedule
from narrows.recipes.speech import speech
from narrows.recipes.training.rate_distortion import RateDistortionTraining
from narrows.recipes.training.run import run

torch.set_num_threads(1)
folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
BATCH = 4  # crops per step, on all ranks together
SCHEDULE = Schedule(steps=20, warmup_steps=2, validate_every=20)


@part("waveform-encoder")
class WaveformEncoder(Encoder):
    channels, dim, stride, reach = 1, 16, (320,), ((0, 0),)

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv1d(1, 16, 320, 320)

    def forward(self, x):
        return self.convolution(x).tanh()


@part("waveform-decoder")
class WaveformDecoder(Decoder):
    channels, dim, stride, reach = 1, 16, (320,), ((0, 0),)

    def __init__(self):
        super().__init__()
        self.convolution = nn.ConvTranspose1d(16, 1, 320, 320)

    def forward(self, z, quality_index=None):
        return self.convolution(z)


def small_speech(**changes):
    data = AudioData(folder / "audio", folder / "audio", seconds=0.1, speeds=(1.0,))
    recipe = speech(prediction=Prediction(steps=0))
    return replace(recipe, data=data, schedule=SCHEDULE, pca_initialization=False, **changes)


def frames():
    # Without losses of the signal: its phases are random at first, and would multiply the errors of rounding.
    torch.manual_seed(0)
    codec = Codec(FrameEncoder(16, 16, 1), FSQ(16, (5, 5), 4), FrameDecoder(16, 16, 1, iterations=1))
    losses = {"spectral": (1.0, MultiResolutionSTFTLoss(16_000, [(512, 40)]))}
    frame_losses = {"frames": (1.0, FrameMagnitudeLoss())}
    return small_speech(codec=codec, losses=losses, frame_losses=frame_losses, signal_loss_start=100)


def waveform(make=lambda: FSQ(16, (5, 5), 4)):
    torch.manual_seed(0)
    return small_speech(
        codec=Codec(WaveformEncoder(), make(), WaveformDecoder()),
        losses={"spectral": (1.0, MultiResolutionSTFTLoss(16_000, [(512, 40)]))},
        frame_losses={},
        discriminators=list(MultiPeriodDiscriminator((2,), 2)),
        adversarial=Adversarial(start=6, feature_weight=0.0),  # feature matching is relative to means of the batch
    )


def ema():
    codebook = EMACodebook(4, 16, 0.9, dead_code_threshold=0.0)
    codebook.initialized.fill_(True)
    return VQ(16, codebook)


def small_image():
    torch.manual_seed(0)
    codec = Codec(LappedEncoder(8, 6, 2, 1), SpaceChannelContext((3, 5), 1, (8, 8)), LappedDecoder(8, 6, 2, 2, 1))
    data = ImageData(folder / "images", folder / "images", crop_size=64)
    return replace(image(), codec=codec, data=data, entropy_model_steps=6, schedule=SCHEDULE)


def small_image_tokenizer():
    torch.manual_seed(0)
    encoder, decoder = LDMEncoder(8, 8, (1, 2, 2), 1, 1, 4), LDMDecoder(8, 8, (1, 2, 2), 1, 1, 4)
    codebook = LearnedCodebook(4, 16, dead_code_threshold=0.0)
    codebook.initialized.fill_(True)
    return replace(
        image_tokenizer(),
        codec=Codec(encoder, VQ(8, codebook), decoder),
        data=ImageData(folder / "images", folder / "images", crop_size=32),
        losses={"l1": (1.0, nn.L1Loss()), "perceptual": (0.5, LaplacianPyramidLoss(3))},
        discriminators=[],
        schedule=SCHEDULE,
    )


# Without noise, and with qualities that are equal for all ways to divide the crops of a step.
torch.rand_like = lambda x: torch.full_like(x, 0.5)
drawn, train = torch.rand, RateDistortionTraining.training_step


def training_step(self, x, index):
    parts = ranks.count() * self.accumulate
    torch.rand = lambda *size, **options: torch.full(size, (ranks.rank() + self.batch + 0.5) / parts)
    train(self, x, index)
    torch.rand = drawn


RateDistortionTraining.training_step = training_step
MAKERS = {"frames": frames, "waveform": waveform, "ema": lambda: waveform(ema), "image": small_image,
          "image-tokenizer": small_image_tokenizer}


def trained(name, way, batch_size, **options):
    recipe = MAKERS[name]()
    if name == "image":
        crops = 2  # of the whole step: with more, ranks divide the range of qualities otherwise
        batch_size = batch_size * crops // BATCH
    run(replace(recipe, data=replace(recipe.data, batch_size=batch_size)), folder / name / way, **options)


for name in MAKERS:
    trained(name, "ranks", BATCH // 2, devices=2)
for variable in ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
    os.environ.pop(variable, None)
for name in MAKERS:
    if rank == 0:
        trained(name, "whole", BATCH)
    elif name != "ema":
        trained(name, "accumulated", BATCH // 2, accumulate=2)
"""
NOT_COMPARED = ("usage", "perplexity", "feature_matching", "valid/pesq")  # of a batch, or not continuous
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, two_ranks: Callable[..., None]) -> Path:
    """The folder of all runs."""
    from narrows.recipes.data.synthetic import write_synthetic_audio, write_synthetic_images

    folder = tmp_path_factory.mktemp("equality")
    write_synthetic_audio(folder / "audio", 16_000)
    write_synthetic_images(folder / "images")
    two_ranks(SCRIPT, str(folder))
    return folder


def state(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    return {name: value.double() for name, value in loaded.items() if value.is_floating_point()}


@pytest.mark.parametrize(
    ("recipe", "way"),
    [(recipe, "ranks") for recipe in ("frames", "waveform", "ema", "image", "image-tokenizer")]
    + [(recipe, "accumulated") for recipe in ("frames", "waveform", "image", "image-tokenizer")],
)
def test_weights_and_metrics_are_those_of_one_rank_with_a_batch_twice_as_large(
    recipe: str, way: str, folder: Path
) -> None:
    whole, parts = state(folder / recipe / "whole"), state(folder / recipe / way)
    assert whole.keys() == parts.keys()
    for kind in ("codec.", "ema.", "discriminators."):
        names = [name for name in whole if name.startswith(kind) and (way == "ranks" or not name.endswith("usage"))]
        if names:
            one, other = (torch.cat([each[name].flatten() for name in names]) for each in (whole, parts))
            assert (one - other).norm() < 1e-4 * one.norm(), kind
    lines = [
        json.loads((folder / recipe / each / "metrics.jsonl").read_text().splitlines()[-1]) for each in ("whole", way)
    ]
    assert lines[0].keys() == lines[1].keys()
    for name, value in lines[0].items():
        if name not in NOT_COMPARED:
            assert lines[1][name] == pytest.approx(value, rel=2e-3, abs=2e-3), name
