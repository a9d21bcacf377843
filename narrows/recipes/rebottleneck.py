"""The recipe of Re-Bottlenecks: another latent space for a finished codec, trained between its latents alone.

    codec rebottleneck speech --structure ordered --data DIR        every prefix of the channels can be decoded
    ... --structure discrete                                        FSQ codes in place of the codec's own, or of latents
    ... --structure aligned --alignment.label speaker               latents that know the speaker of a manifest
    ... --structure aligned --alignment.teacher narrows.evaluation.metrics.speaker_similarity:embedding
    ... --structure equivariant --transforms '[gain, equalizer]'    latents that follow transforms of the signal
    ... --structure ordered,aligned                                 several at once

Re-Bottleneck: Bralios, Casebeer and Smaragdis, arXiv 2507.07867. The weights of reconstruction and divergence and the
discriminator follow the authors' later code; the forms of the structure losses are those of this library, since the
published ones were not available (docs/rebottleneck.md).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from narrows.checkpoints.load import load
from narrows.codecs.base import Bottleneck
from narrows.codecs.bottlenecks.ard import ARD
from narrows.codecs.bottlenecks.continuous import Continuous
from narrows.codecs.bottlenecks.fsq import FSQ, ScalarGroups
from narrows.codecs.bottlenecks.residual import ResidualVQ
from narrows.codecs.codec import Codec
from narrows.codecs.latent import LatentDecoder, LatentEncoder
from narrows.codecs.quantization.rounding import Rounding
from narrows.errors import InputError, shortened
from narrows.recipes.data.labels import labels_of
from narrows.recipes.data.latents import media_files
from narrows.recipes.data.targets import Embeddings, Labels, Targets
from narrows.recipes.data.transforms import transform
from narrows.recipes.discriminators.latents import LatentDiscriminator
from narrows.recipes.losses.structure import AlignmentLoss, LatentReconstructionLoss
from narrows.recipes.settings import AdamW, Adversarial, LatentData, Schedule, Structure, check_range
from narrows.recipes.training.adversarial import BOTTLENECK_LOSS_WEIGHTS
from narrows.recipes.training.rebottleneck import ReBottleneckRecipe
from narrows.tokenizers.tokenizer import Tokenizer

KL_WEIGHT = 1e-4  # of the authors' code; of the divergence per position, in nats
RECONSTRUCTION_WEIGHT = 2.0
ERROR_FLOOR = 0.1  # of logarithms of errors, relative to the variance
FSQ_LEVELS = (8, 5, 5, 5)


@dataclass(frozen=True)
class Network:
    """The parts of the Re-Bottleneck.

    Args:
        width: Channels of its networks.
        depth: ConvNeXt blocks of its encoder and of its decoder; each sees 3 positions to each side.
        channels: Continuous channels, or dimensions of the vectors that are quantized; None for as many as the latents
            of the codec really have.
        bottleneck: continuous (channels with an estimated prior, rounded for streams), fsq or residual-vq; None for fsq
            with the structure discrete, and otherwise continuous.
        step: Distance of two values of a continuous channel in streams; the channels' variance is 1 on average.
        codebooks: Codebooks of fsq, of 1000 codes, and of residual-vq, of 1024.
        dropout: Probability with the structure ordered, per item of a batch, that only a random prefix is trained.
    """

    width: int = 192
    depth: int = 3
    channels: int | None = None
    bottleneck: Literal["continuous", "fsq", "residual-vq"] | None = None
    step: float = 0.125
    codebooks: int = 8
    dropout: float = 0.75

    def __post_init__(self) -> None:
        check_range(
            1, width=self.width, codebooks=self.codebooks, channels=1 if self.channels is None else self.channels
        )
        check_range(0, depth=self.depth)
        check_range(1e-3, step=self.step)
        check_range(0, 1, dropout=self.dropout)

    def codec(self, base: Tokenizer, structure: tuple[Structure, ...]) -> Codec:
        """The codec of latents, with random weights."""
        latents, axes = base.codec.encoder.dim, len(base.codec.stride)
        dropout = self.dropout if "ordered" in structure else 0.0
        kind = self.bottleneck or ("fsq" if "discrete" in structure else "continuous")
        if kind == "continuous" and "discrete" in structure:
            raise InputError("expected fsq or residual-vq for the structure discrete, got continuous; choose one")
        scalars = len(FSQ_LEVELS) * self.codebooks
        dim = self.channels or (scalars if kind == "fsq" else min(latents, _rank(base.codec.bottleneck)))
        bottleneck: Bottleneck
        match kind:
            case "fsq":
                bottleneck = FSQ(dim, FSQ_LEVELS, self.codebooks, dropout)
            case "residual-vq":
                bottleneck = ResidualVQ(dim, self.codebooks, 1024, min(dim, 16), dropout=dropout)
            case _:
                bottleneck = ARD(dim, dim, Rounding(self.step, 64 * self.step), dropout=dropout)
        size = {"width": self.width, "depth": self.depth, "axes": axes}
        return Codec(LatentEncoder(latents, dim, **size), bottleneck, LatentDecoder(latents, dim, **size))


@dataclass(frozen=True)
class Alignment:
    """What the latents are aligned to, with the structure aligned.

    Args:
        teacher: What embeds media: a network of timm, for images and for the middle frame of a clip; or a function,
            FILE.py:FUNCTION or MODULE:FUNCTION, that takes a crop as an array (3, H, W) in [-1, 1], or (T,) of audio
            at 16 kHz, and returns an embedding (E,); None: labels.
        weights: .safetensors file with weights of a timm network; downloaded if not given.
        label: Column of a manifest with the labels; without such a column, the folder of a file is its label.
        form: contrastive or cosine, for embeddings.
        weight: Weight of the loss.
    """

    teacher: str | None = None
    weights: Path | None = None
    label: str = "label"
    form: Literal["contrastive", "cosine"] = "contrastive"
    weight: float = 0.1

    def __post_init__(self) -> None:
        check_range(0, weight=self.weight)


def rebottleneck(
    base: str = "speech",
    structure: tuple[Structure, ...] = ("ordered",),
    network: Network = Network(),
    data: LatentData = LatentData(),
    reconstruction: Literal["decoded", "latents"] = "decoded",
    alignment: Alignment = Alignment(),
    transforms: tuple[str, ...] | None = None,
    equivariance_weight: float = 0.1,
    optimizer: AdamW = AdamW(lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-4),
    schedule: Schedule = Schedule(
        steps=4_000, warmup_steps=100, decay_fraction=0.5, validate_every=500, ema_decay=0.995
    ),
    adversarial: Adversarial = Adversarial(start=1_000_000, lr=1e-4, width=64, weight=0.5, feature_weight=1.0),
    seed: int = 0,
    name: str = "my-rebottleneck",
) -> ReBottleneckRecipe:
    """Train a Re-Bottleneck of a finished codec between its latents.

    Args:
        base: Model that gets it: a name, a folder or a repository of the Hugging Face Hub, as `narrows.load` takes it.
        structure: Structures of the latents, one or several: ordered, aligned, equivariant, discrete.
        network: Parts of the Re-Bottleneck.
        data: Training and validation data.
        reconstruction: Whether errors of latents count as they do to what the base decodes, or all alike.
        alignment: What the latents are aligned to.
        transforms: Transforms of the signal that the latents follow; gain and equalizer for audio, flip and brightness
            for images and video if not given.
        equivariance_weight: Weight of the loss of each transform.
        optimizer: Optimizer of the Re-Bottleneck.
        schedule: Length of the run, learning-rate schedule, validation, EMA.
        adversarial: Discriminator of latents; not used before the step `adversarial.start`.
        seed: Seed of initial weights and data.
        name: Name of the trained model, which streams and tokens carry.
    """
    for each in structure:
        if each not in get_args(Structure):
            raise InputError(f"expected structures of {', '.join(get_args(Structure))}, got {shortened(each)}")
    tokenizer = load(base)
    medium = tokenizer.medium.name
    torch.manual_seed(seed)
    codec = network.codec(tokenizer, structure)
    aligned: tuple[float, AlignmentLoss] | None = None
    targets: Targets | None = None
    dim = codec.bottleneck.channels if isinstance(codec.bottleneck, Continuous) else codec.bottleneck.dim
    if "aligned" in structure:
        if alignment.teacher is None:
            classes = tuple(sorted(set(labels_of(media_files(tokenizer, data.train), alignment.label))))
            targets = Labels(alignment.label, classes)
            loss = AlignmentLoss(dim, len(classes), "labels")
        else:
            embeddings = Embeddings(alignment.teacher, alignment.weights, tokenizer.sample_rate)
            targets, loss = embeddings, AlignmentLoss(dim, embeddings.dim, alignment.form)
        aligned = (alignment.weight, loss)
    chosen: tuple[str, ...] = ()
    if "equivariant" in structure:
        defaults = ("gain", "equalizer") if medium == "audio" else ("flip", "brightness")
        chosen = defaults if transforms is None else transforms
    made = [transform(medium, each, tokenizer.sample_rate, tokenizer.codec.stride) for each in chosen]
    axes = len(tokenizer.codec.stride)
    floor = ERROR_FLOOR if "ordered" in structure else None
    return ReBottleneckRecipe(
        name=name,
        base=tokenizer,
        codec=codec,
        data=data,
        losses={"latents": (RECONSTRUCTION_WEIGHT, LatentReconstructionLoss(tokenizer.codec.encoder.dim, floor))},
        bottleneck_loss_weights=BOTTLENECK_LOSS_WEIGHTS | {"kl": KL_WEIGHT},
        quality_index=tokenizer.qualities - 1 if tokenizer.qualities > 1 else None,
        reconstruction=reconstruction,
        alignment=aligned,
        targets=targets,
        transforms=made,
        equivariance_weight=equivariance_weight,
        optimizer=optimizer,
        schedule=schedule,
        discriminators=[LatentDiscriminator(tokenizer.codec.encoder.dim, axes, adversarial.width)]
        if adversarial.start < schedule.steps
        else [],
        adversarial=adversarial,
        seed=seed,
    )


def _rank(bottleneck: Bottleneck) -> int:
    """The number of dimensions that the latents of a bottleneck really have, as far as it is known."""
    if isinstance(bottleneck, Continuous):
        return bottleneck.channels
    if isinstance(bottleneck, ScalarGroups):
        return sum(bottleneck.sizes)
    return bottleneck.dim
