"""The recipe of image tokenizers for generative models, as VQGAN and UniTok are trained.

    codec train image-tokenizer                                          VQGAN: convolutions, one codebook of 16384
    ... --network.bottleneck fsq                                         with one FSQ codebook of 64000 instead
    ... --network.trunk vit --network.bottleneck multi-codebook          UniTok: transformers, 8 codebooks of 4096
        --contrastive.teacher vit_base_patch16_clip_224.openai           and its contrastive loss, with an image teacher
    ... --network.bottleneck vector-quantize-pytorch                     any quantizer of vector-quantize-pytorch
        --network.quantizer ResidualSimVQ
        --network.quantizer_options '{"num_quantizers": 4, "codebook_size": 1024}'

    ... --network.trunk lapped                                           small: trains on a CPU, the model image-tokens

All have one position for 16 × 16 pixels.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from narrows.codecs.base import Bottleneck
from narrows.codecs.bottlenecks.fsq import FSQ
from narrows.codecs.bottlenecks.gaussian import Gaussian
from narrows.codecs.bottlenecks.ibq import IBQ
from narrows.codecs.bottlenecks.lookup_free import BSQ, LFQ
from narrows.codecs.bottlenecks.multi_codebook import MultiCodebook
from narrows.codecs.bottlenecks.residual import ResidualVQ
from narrows.codecs.bottlenecks.vector_quantize_pytorch import VectorQuantizePytorch
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.codec import Codec
from narrows.codecs.image.lapped import LappedDecoder, LappedEncoder
from narrows.codecs.image.ldm import LDMDecoder, LDMEncoder
from narrows.codecs.image.vit import ViTDecoder, ViTEncoder
from narrows.codecs.quantization.attention_projection import AttentionProjection
from narrows.codecs.quantization.codebooks import EMACodebook, LearnedCodebook
from narrows.codecs.quantization.estimators import StraightThrough
from narrows.codecs.quantization.rounding import Rounding
from narrows.errors import InputError
from narrows.recipes.discriminators.patchgan import PatchGANDiscriminator
from narrows.recipes.losses.backbone import Backbone
from narrows.recipes.losses.contrastive import ContrastiveLoss
from narrows.recipes.losses.images import LaplacianPyramidLoss
from narrows.recipes.losses.perceptual import PerceptualLoss
from narrows.recipes.settings import AdamW, Adversarial, ImageData, Schedule, check_range
from narrows.recipes.training.image_tokenizer import ImageTokenizerRecipe

CONV_DIM, VIT_DIM, LAPPED_DIM = 256, 768, 32  # latent channels by trunk
LAPPED_LEVELS = (16, 8, 4, 4, 4)  # of FSQ: 8192 codes


@dataclass(frozen=True)
class Network:
    """The parts of the codec.

    Args:
        trunk: Encoder and decoder: ldm (convolutions with attention at the lowest resolution, 72 million parameters),
            vit (transformers of 6 and 12 blocks, 129 million parameters) or lapped (lapped transforms with a learned
            correction, 1.7 million parameters, for CPUs; with vq or fsq it starts as the KLT of the data).
        bottleneck: Quantizer between them; gaussian has continuous latents, which are rounded for .nrw streams;
            vector-quantize-pytorch is the class `quantizer` of that package.
        quantizer: Class of vector-quantize-pytorch, with that bottleneck only; VectorQuantize if not given.
        quantizer_options: Arguments of that class by name, as JSON, except dim; {"codebook_size": 16384,
            "codebook_dim": 8} if there is no quantizer.

    Raises:
        InputError: For a quantizer or options together with another bottleneck, or options without a quantizer.
    """

    trunk: Literal["ldm", "vit", "lapped"] = "ldm"
    bottleneck: Literal[
        "vq", "fsq", "multi-codebook", "residual-vq", "ibq", "lfq", "bsq", "gaussian", "vector-quantize-pytorch"
    ] = "vq"
    quantizer: str | None = None
    quantizer_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.bottleneck != "vector-quantize-pytorch" and (self.quantizer or self.quantizer_options):
            raise InputError(
                f"expected no quantizer and quantizer_options with the bottleneck {self.bottleneck!r}, got "
                f"{self.quantizer!r} and {self.quantizer_options}; choose the bottleneck vector-quantize-pytorch"
            )
        if self.quantizer_options and not self.quantizer:
            raise InputError("expected a quantizer with quantizer_options, got none; choose one, e.g. VectorQuantize")

    def codec(self) -> Codec:
        """The codec with random weights."""
        if self.trunk == "ldm":
            return Codec(LDMEncoder(CONV_DIM), self._bottleneck(CONV_DIM), LDMDecoder(CONV_DIM))
        if self.trunk == "vit":
            return Codec(ViTEncoder(VIT_DIM), self._bottleneck(VIT_DIM), ViTDecoder(VIT_DIM))
        encoder = LappedEncoder(LAPPED_DIM, width=96, fine=16, depth=2)
        decoder = LappedDecoder(LAPPED_DIM, width=128, skip=16, fine=24, depth=3)
        match self.bottleneck:
            case "vq":
                bottleneck: Bottleneck = VQ(LAPPED_DIM, EMACodebook(12, 8192), StraightThrough())
            case "fsq":
                bottleneck = FSQ(LAPPED_DIM, LAPPED_LEVELS)
            case _:
                bottleneck = self._bottleneck(LAPPED_DIM)
        return Codec(encoder, bottleneck, decoder)

    def _bottleneck(self, dim: int) -> Bottleneck:
        if self.bottleneck != "vector-quantize-pytorch":
            return quantizer_of(self.bottleneck, dim)
        if self.quantizer is None:
            return VectorQuantizePytorch(dim, "VectorQuantize", (("codebook_size", 16384), ("codebook_dim", 8)))
        return VectorQuantizePytorch(dim, self.quantizer, tuple(self.quantizer_options.items()))


@dataclass(frozen=True)
class Perceptual:
    """Settings of the perceptual loss, which is added to the L1 loss of pixels.

    Args:
        backbone: timm network whose features are compared ("vgg16.tv_in1k"). If None, the loss compares normalized
            Laplacian pyramids, which needs no trained network.
        weights: .safetensors file with weights of the backbone; downloaded if not given.
        weight: Weight of the loss.
    """

    backbone: str | None = None
    weights: Path | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_range(0, weight=self.weight)

    def loss(self) -> PerceptualLoss | LaplacianPyramidLoss:
        """The loss between two batches of images."""
        if self.backbone is None:
            return LaplacianPyramidLoss()
        return PerceptualLoss(Backbone(self.backbone, self.weights))


@dataclass(frozen=True)
class Contrastive:
    """Settings of the contrastive loss between latents and embeddings of a trained image network.

    Args:
        teacher: timm network of the embeddings; None: no contrastive loss.
        weights: .safetensors file with weights of the teacher; downloaded if not given.
        weight: Weight of the loss.
    """

    teacher: str | None = None
    weights: Path | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_range(0, weight=self.weight)

    def loss(self, dim: int) -> ContrastiveLoss | None:
        """The loss between latents of `dim` channels and images; None without a teacher."""
        return None if self.teacher is None else ContrastiveLoss(Backbone(self.teacher, self.weights), dim)


def image_tokenizer(
    network: Network = Network(),
    data: ImageData = ImageData(),
    perceptual: Perceptual = Perceptual(),
    contrastive: Contrastive = Contrastive(),
    optimizer: AdamW = AdamW(lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0),
    schedule: Schedule = Schedule(steps=400_000, warmup_steps=2000, ema_decay=0.9995),
    adversarial: Adversarial = Adversarial(start=50_000, lr=1e-4, width=64, weight=0.8, feature_weight=0.0),
    seed: int = 0,
    name: str = "my-image-tokenizer",
) -> ImageTokenizerRecipe:
    """Train an image tokenizer on folders of images.

    Args:
        network: Parts of the codec.
        data: Training and validation data.
        perceptual: Perceptual loss.
        contrastive: Contrastive loss.
        optimizer: Optimizer of the codec.
        schedule: Length of the run, learning-rate schedule, validation, EMA.
        adversarial: Discriminator and its losses; `adversarial.weight` is multiplied by VQGAN's adaptive weight.
        seed: Seed of initial weights and data.
        name: Name of the trained model, which streams and tokens carry.
    """
    torch.manual_seed(seed)
    codec = network.codec()
    contrastive_loss = contrastive.loss(codec.bottleneck.dim)
    return ImageTokenizerRecipe(
        name=name,
        codec=codec,
        data=data,
        losses={"l1": (1.0, nn.L1Loss()), "perceptual": (perceptual.weight, perceptual.loss())},
        latent_losses={} if contrastive_loss is None else {"contrastive": (contrastive.weight, contrastive_loss)},
        klt_initialization=network.trunk == "lapped" and network.bottleneck in ("vq", "fsq"),
        optimizer=optimizer,
        schedule=schedule,
        discriminators=[PatchGANDiscriminator(adversarial.width)],
        adversarial=adversarial,
        seed=seed,
    )


def quantizer_of(name: str, dim: int) -> Bottleneck:
    """The bottleneck of an image tokenizer by its name in the settings."""
    match name:
        case "vq":  # 8-dimensional codes of unit length: ViT-VQGAN, arXiv 2110.04627, section 3.2
            return VQ(dim, LearnedCodebook(8, 16384, cosine=True))
        case "fsq":
            return FSQ(dim, (8, 8, 8, 5, 5, 5))
        case "multi-codebook":  # UniTok, arXiv 2502.20321, section 3.3
            return MultiCodebook(dim, 8, 4096, 8, AttentionProjection(dim, 64, max(1, dim // 64)))
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
