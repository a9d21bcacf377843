"""The recipe of image tokenizers for generative models, as VQGAN and UniTok train them.

    codec train image-tokenizer                                          VQGAN: convolutions, one codebook of 16384
    ... --network.bottleneck fsq                                         the same with 64000 scalar codes
    ... --network.trunk vit --network.bottleneck multi-codebook          UniTok: transformers, 8 codebooks of 4096
        --semantic.teacher vit_base_patch16_clip_224.openai              and its contrast, with a teacher of pictures

All are of one position for 16 × 16 pixels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from narrows.codecs.base import Bottleneck
from narrows.codecs.bottlenecks.fsq import FSQ
from narrows.codecs.bottlenecks.gaussian import Gaussian
from narrows.codecs.bottlenecks.ibq import IBQ
from narrows.codecs.bottlenecks.lookup_free import BSQ, LFQ
from narrows.codecs.bottlenecks.multi_codebook import MultiCodebook
from narrows.codecs.bottlenecks.residual import ResidualVQ
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.codec import Codec
from narrows.codecs.image.ldm import LDMDecoder, LDMEncoder
from narrows.codecs.image.vit import ViTDecoder, ViTEncoder
from narrows.codecs.quantization.attention_projection import AttentionProjection
from narrows.codecs.quantization.codebooks import LearnedCodebook
from narrows.codecs.quantization.rounding import Rounding
from narrows.recipes.discriminators.patches import PatchDiscriminator
from narrows.recipes.losses.backbone import Backbone
from narrows.recipes.losses.features import FeatureDistance, SemanticContrast
from narrows.recipes.losses.images import PixelDistance, PyramidDistance
from narrows.recipes.settings import AdamW, Adversary, Schedule, _check_least
from narrows.recipes.training.image_recipe import Photos
from narrows.recipes.training.tokenizer_recipe import TokenizerRecipe

CONV_DIM, VIT_DIM = 256, 768  # channels between the networks and the bottleneck


@dataclass(frozen=True)
class Network:
    """The parts of the codec.

    trunk: ldm, convolutions with attention at the smallest size (72 million weights), or vit, transformers of 6 and 12
    blocks (129 million). bottleneck: what is between encoder and decoder; gaussian is continuous, rounded for bytes.
    """

    trunk: Literal["ldm", "vit"] = "ldm"
    bottleneck: Literal["vq", "fsq", "multi-codebook", "residual-vq", "ibq", "lfq", "bsq", "gaussian"] = "vq"

    def codec(self) -> Codec:
        """With random weights."""
        if self.trunk == "ldm":
            return Codec(LDMEncoder(CONV_DIM), _bottleneck(self.bottleneck, CONV_DIM), LDMDecoder(CONV_DIM))
        return Codec(ViTEncoder(VIT_DIM), _bottleneck(self.bottleneck, VIT_DIM), ViTDecoder(VIT_DIM))


@dataclass(frozen=True)
class Perceptual:
    """The distance of what is seen, beside that of pixels.

    backbone: a network of timm that it looks through ("vgg16.tv_in1k"); without one the contrasts of a pyramid are
    compared, which needs no weights. weights: a .safetensors file for it; fetched unless given. weight: of the loss.
    """

    backbone: str | None = None
    weights: Path | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_least(0, weight=self.weight)

    def loss(self) -> FeatureDistance | PyramidDistance:
        """Of two pictures."""
        return PyramidDistance() if self.backbone is None else FeatureDistance(Backbone(self.backbone, self.weights))


@dataclass(frozen=True)
class Semantic:
    """UniTok's contrast between pictures and latents.

    teacher: a network of timm that tells pictures apart; without one there is no such loss. weights: a .safetensors
    file for it; fetched unless given. weight: of the loss.
    """

    teacher: str | None = None
    weights: Path | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_least(0, weight=self.weight)

    def loss(self, dim: int) -> SemanticContrast | None:
        """Of latents of `dim` channels and their pictures."""
        return None if self.teacher is None else SemanticContrast(Backbone(self.teacher, self.weights), dim)


def image_tokenizer(
    network: Network = Network(),
    data: Photos = Photos(),
    perceptual: Perceptual = Perceptual(),
    semantic: Semantic = Semantic(),
    optimizer: AdamW = AdamW(lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0),
    schedule: Schedule = Schedule(steps=400_000, signal=0, rise=2000, average=0.9995),
    adversary: Adversary = Adversary(start=50_000, lr=1e-4, width=64, score=0.8, features=0.0),
    seed: int = 0,
) -> TokenizerRecipe:
    """Train an image tokenizer on folders of pictures.

    network: the codec. data.train, data.valid: folders with pictures of any size. perceptual, semantic: losses.
    optimizer, schedule, adversary: of the run. seed: of weights and data.
    """
    torch.manual_seed(seed)
    codec = network.codec()
    contrast = semantic.loss(codec.bottleneck.dim)
    return TokenizerRecipe(
        name="image-tokenizer",
        codec=codec,
        data=data,
        losses={"pixels": (1.0, PixelDistance()), "perceptual": (perceptual.weight, perceptual.loss())},
        latent_losses={} if contrast is None else {"semantic": (semantic.weight, contrast)},
        optimizer=optimizer,
        schedule=schedule,
        discriminators=[PatchDiscriminator(adversary.width)],
        adversary=adversary,
        seed=seed,
    )


def _bottleneck(name: str, dim: int) -> Bottleneck:
    match name:
        case "vq":  # short codes of length 1: ViT-VQGAN, arXiv 2110.04627, section 3.2
            return VQ(dim, LearnedCodebook(8, 16384, cosine=True))
        case "fsq":
            return FSQ(dim, (8, 8, 8, 5, 5, 5))
        case "multi-codebook":  # UniTok, arXiv 2502.20321, section 3.3
            return MultiCodebook(dim, 8, 4096, 8, AttentionProjection(dim, 64, 8))
        case "residual-vq":
            return ResidualVQ(dim, 4, 4096, 16)
        case "ibq":
            return IBQ(dim, 16384)
        case "lfq":
            return LFQ(dim, 18)
        case "bsq":
            return BSQ(dim, 18)
        case _:
            return Gaussian(dim, 16, Rounding())
