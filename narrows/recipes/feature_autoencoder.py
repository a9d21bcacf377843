"""The recipe of feature auto-encoders: few channels for a frozen vision encoder (FAE, arXiv 2512.07829).

    codec train feature-autoencoder                                      DINOv2-S/14, one attention layer, 32 channels
    ... --network.size paper                                             DINOv2-g/14, the sizes of the paper
    ... --network.size small --schedule.steps 20000 --decoded_start 10000       a small one, for CPUs
    ... --network.backbone vit_base_patch16_siglip_224.v2_webli          another network of timm

The trained model has one position for 16 × 16 pixels, decodes to images, and codes to .nrw streams; a generative model
takes its continuous latents (`encode_latents`). The backbone's weights are downloaded when the run starts, or given as
a file, and are part of the checkpoint.

The paper prints neither the weight of the KL divergence nor those of the losses of images: these are our choice, and so
is the start of the second phase. Its learning rate falls as a cosine, ours linearly at the end.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from narrows.codecs.bottlenecks.gaussian import Gaussian
from narrows.codecs.codec import Codec
from narrows.codecs.image.feature_autoencoder import FeatureDecoder, FeatureEncoder
from narrows.codecs.image.timm_backbone import TimmBackbone
from narrows.codecs.image.vit import ViTDecoder
from narrows.codecs.quantization.rounding import Rounding
from narrows.recipes.discriminators.patchgan import PatchGANDiscriminator
from narrows.recipes.image_tokenizer import Perceptual
from narrows.recipes.settings import AdamW, Adversarial, ImageData, Schedule, check_range
from narrows.recipes.training.feature_autoencoder import FEATURES, FeatureAutoencoderRecipe

STRIDE, DIM = 16, 64  # pixels per position, latent channels on both sides of the bottleneck
HEAD, ATTENTION_HEAD = 64, 256  # channels of a head: of transformers, of the encoder's attention layer
KL_WEIGHT = 1e-3  # with 1e-4, few channels grow beyond the range of the rounding within some hundred steps
SIZES = {  # backbone; blocks of the feature decoder; width and blocks of the pixel decoder
    "small": ("vit_tiny_patch16_224.augreg_in21k", 2, 192, 4),
    "base": ("vit_small_patch14_dinov2.lvd142m", 6, 768, 12),
    "paper": ("vit_giant_patch14_dinov2.lvd142m", 6, 1024, 24),
}


@dataclass(frozen=True)
class Network:
    """The parts of the codec.

    Args:
        size: Backbone and decoders: small (ViT-Ti/16, 2 + 4 blocks, 3.6 million trained parameters), base (DINOv2-S/14,
            6 + 12 blocks, 99 million) or paper (DINOv2-g/14, 6 + 24 blocks, 516 million).
        backbone: Another timm network than that of the size.
        weights: .safetensors file with weights of the backbone; downloaded if not given.
        pretrained: Whether the backbone starts with trained weights; only tests do without.
        channels: Channels of the bottleneck.
    """

    size: Literal["small", "base", "paper"] = "base"
    backbone: str | None = None
    weights: Path | None = None
    pretrained: bool = True
    channels: int = 32

    def __post_init__(self) -> None:
        check_range(1, 4096, channels=self.channels)

    def codec(self) -> Codec:
        """The codec with random weights, those of the backbone included."""
        name, depth, pixel_width, pixel_depth = SIZES[self.size]
        backbone = TimmBackbone(self.backbone or name)
        width = backbone.widths[-1]
        heads = 1 if width % HEAD else width // HEAD
        pixels = ViTDecoder(width, pixel_width, pixel_depth, pixel_width // HEAD, STRIDE)
        return Codec(
            FeatureEncoder(backbone, DIM, heads, ATTENTION_HEAD, STRIDE),
            Gaussian(DIM, self.channels, Rounding()),
            FeatureDecoder(pixels, DIM, depth, heads),
        )


def feature_autoencoder(
    network: Network = Network(),
    data: ImageData = ImageData(),
    perceptual: Perceptual = Perceptual(),
    optimizer: AdamW = AdamW(lr=1e-4, betas=(0.9, 0.999), weight_decay=0.0),
    schedule: Schedule = Schedule(steps=1_000_000, warmup_steps=1000, ema_decay=0.9999),
    adversarial: Adversarial = Adversarial(start=50_000, lr=1e-4, width=64, weight=0.5, feature_weight=0.0),
    noise: float = 0.4,
    decoded_start: int = 500_000,
    kl_weight: float = KL_WEIGHT,
    seed: int = 0,
    name: str = "my-feature-autoencoder",
) -> FeatureAutoencoderRecipe:
    """Train a feature auto-encoder on folders of images.

    Args:
        network: Parts of the codec.
        data: Training and validation data.
        perceptual: Perceptual loss of the pixel decoder, which is added to the L1 loss.
        optimizer: Optimizer of the codec.
        schedule: Length of the run, learning-rate schedule, validation, EMA.
        adversarial: Discriminator and its losses; `adversarial.weight` is multiplied by VQGAN's adaptive weight.
        noise: Standard deviation of the noise on features from which the pixel decoder learns first; features have
            about 1.
        decoded_start: First step at which the pixel decoder learns from decoded features.
        kl_weight: Weight of the bottleneck's KL divergence, in nats per position.
        seed: Seed of initial weights and data.
        name: Name of the trained model, which streams and tokens carry.
    """
    check_range(0, kl_weight=kl_weight)
    torch.manual_seed(seed)
    return FeatureAutoencoderRecipe(
        name=name,
        codec=network.codec(),
        data=data,
        losses={"l1": (1.0, nn.L1Loss()), "perceptual": (perceptual.weight, perceptual.loss())},
        bottleneck_loss_weights={"kl": kl_weight, FEATURES: 1.0},
        optimizer=optimizer,
        schedule=schedule,
        discriminators=[PatchGANDiscriminator(adversarial.width)],
        adversarial=adversarial,
        pretrained=network.pretrained,
        backbone_weights=network.weights,
        noise=noise,
        decoded_start=decoded_start,
        seed=seed,
    )
