"""The recipe of video codecs and video tokenizers.

    codec train video                                          clips at 57 qualities, as files: the model video
    ... --network.bottleneck fsq                               tokens for generative models, one codebook of 64000
    ... --network.bottleneck gaussian --network.trunk wavelet  latents of 16 channels for diffusion, as in WF-VAE

All have one position for 4 × 8 × 8 samples.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from narrows.codecs.base import Bottleneck
from narrows.codecs.bottlenecks.entropy.space_time import SpaceTimeContext
from narrows.codecs.bottlenecks.gaussian import Gaussian
from narrows.codecs.codec import Codec
from narrows.codecs.quantization.rounding import Rounding
from narrows.codecs.video.factorised import FactorisedDecoder, FactorisedEncoder
from narrows.codecs.video.wavelet import WaveletDecoder, WaveletEncoder
from narrows.errors import InputError
from narrows.recipes.discriminators.patchgan import PatchGANDiscriminator
from narrows.recipes.image_tokenizer import quantizer_of
from narrows.recipes.losses.images import LaplacianPyramidLoss
from narrows.recipes.losses.videos import FrameDifferenceLoss, OnFrames
from narrows.recipes.settings import AdamW, Adversarial, Schedule, VideoData
from narrows.recipes.training.base import Recipe
from narrows.recipes.training.video_rate_distortion import VideoRateDistortionRecipe
from narrows.recipes.training.video_tokenizer import VideoTokenizerRecipe

LAMBDAS = (0.0004, 0.0008, 0.0016, 0.0032, 0.0064, 0.0128, 0.0256, 0.0512)
GROUPS = (8, 8, 16, 64)  # channels of the entropy model


@dataclass(frozen=True)
class Network:
    """The parts of the codec.

    Args:
        trunk: Encoder and decoder: factorised (Haar patches and convolutions of 1.1 million parameters, for CPUs) or
            wavelet (WF-VAE, 34 million parameters).
        bottleneck: entropy is a space-time context model, for files at any quality; the others make tokens of one
            rate, or the continuous latents of a variational autoencoder (gaussian).
        dim: Channels of the latents; None for 96 with the trunk factorised, 16 with wavelet.
        channels: Channels of the continuous latents of gaussian.

    Raises:
        InputError: For an entropy model with another trunk than factorised.
    """

    trunk: Literal["factorised", "wavelet"] = "factorised"
    bottleneck: Literal["entropy", "fsq", "multi-codebook", "residual-vq", "vq", "lfq", "bsq", "ibq", "gaussian"] = (
        "entropy"
    )
    dim: int | None = None
    channels: int = 16

    def __post_init__(self) -> None:
        if self.bottleneck == "entropy" and (self.trunk != "factorised" or self.dim not in (None, sum(GROUPS))):
            raise InputError(
                f"expected the trunk factorised with {sum(GROUPS)} channels for the bottleneck entropy, got "
                f"{self.trunk} with {self.dim}; choose another bottleneck"
            )

    def codec(self) -> Codec:
        """The codec with random weights."""
        if self.trunk == "wavelet":
            dim = self.dim or 16
            return Codec(WaveletEncoder(dim), self._bottleneck(dim), WaveletDecoder(dim))
        dim = self.dim or sum(GROUPS)
        return Codec(FactorisedEncoder(dim), self._bottleneck(dim), FactorisedDecoder(dim))

    def _bottleneck(self, dim: int) -> Bottleneck:
        match self.bottleneck:
            case "entropy":
                return SpaceTimeContext(GROUPS)
            case "gaussian":
                return Gaussian(dim, self.channels, Rounding())
            case _:
                return quantizer_of(self.bottleneck, dim)


def video(
    network: Network = Network(),
    data: VideoData = VideoData(),
    optimizer: AdamW = AdamW(lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0),
    schedule: Schedule = Schedule(steps=100_000, decay_fraction=0.4, ema_decay=0.998),
    entropy_model_steps: int = 300,
    flicker_weight: float = 0.1,
    lambdas: tuple[float, ...] = LAMBDAS,
    adversarial: Adversarial = Adversarial(start=50_000, lr=1e-4, width=64, weight=0.8, feature_weight=0.0),
    seed: int = 0,
    name: str = "my-video",
) -> Recipe:
    """Train a video codec or tokenizer on folders of clips.

    Args:
        network: Parts of the codec; its bottleneck decides between files at any quality and tokens.
        data: Training and validation data.
        optimizer: Optimizer of the codec.
        schedule: Length of the run, learning-rate schedule, validation, EMA.
        entropy_model_steps: First steps, in which only the entropy model is trained; with an entropy model only.
        flicker_weight: Weight of the error of frame differences, in that of frames.
        lambdas: 8 increasing weights of the squared error (of 8-bit values) against bits per pixel, from the lowest
            quality to the highest; with an entropy model only.
        adversarial: Discriminator of frames and its losses, for tokens only; `adversarial.weight` is multiplied by
            VQGAN's adaptive weight.
        seed: Seed of initial weights and data.
        name: Name of the trained model, which streams and tokens carry.
    """
    torch.manual_seed(seed)
    shared: dict[str, Any] = {
        "name": name,
        "codec": network.codec(),
        "data": data,
        "optimizer": optimizer,
        "schedule": schedule,
        "seed": seed,
    }
    if network.bottleneck == "entropy":
        return VideoRateDistortionRecipe(
            **shared, lambdas=lambdas, entropy_model_steps=entropy_model_steps, flicker_weight=flicker_weight
        )
    return VideoTokenizerRecipe(
        **shared,
        losses={
            "l1": (1.0, nn.L1Loss()),
            "perceptual": (1.0, OnFrames(LaplacianPyramidLoss())),
            "flicker": (flicker_weight, FrameDifferenceLoss()),
        },
        klt_initialization=network.trunk == "factorised",
        discriminators=[PatchGANDiscriminator(adversarial.width)],
        adversarial=adversarial,
    )
