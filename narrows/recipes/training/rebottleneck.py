"""Re-Bottlenecks: the recipe, and the Lightning module that trains one between the latents of a finished codec.

    z ──▶ inner encoder ──▶ bottleneck ──▶ inner decoder ──▶ z     reconstruction, discriminator
                             │
                             y                                     structure: alignment to targets, equivariance
                                                                   (an order of the channels: dropout in the bottleneck)

Nothing passes through the networks of the codec, which encodes its training data once.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from narrows.bitstream import FrequencyTables
from narrows.codecs import distributed as ranks
from narrows.codecs.bottlenecks.continuous import Continuous
from narrows.codecs.bottlenecks.rebottleneck import ReBottleneck
from narrows.codecs.codec import Codec
from narrows.errors import InputError
from narrows.recipes.data.files import MediaFiles
from narrows.recipes.data.latents import (
    LatentCrops,
    LatentExample,
    LatentShards,
    Preparation,
    collated,
    media_crops,
    media_files,
)
from narrows.recipes.data.loading import StepBatches, begin_worker
from narrows.recipes.data.synthetic import write_synthetic_audio, write_synthetic_images, write_synthetic_videos
from narrows.recipes.data.targets import Targets
from narrows.recipes.data.transforms import Transform
from narrows.recipes.initialization.decoder_metric import Statistics, decoder_metric, square_root
from narrows.recipes.initialization.latents import initialize_latents
from narrows.recipes.losses.adversarial import feature_matching_loss, hinge_generator_loss
from narrows.recipes.losses.structure import AlignmentLoss, EquivarianceLoss, LatentReconstructionLoss
from narrows.recipes.settings import LatentData
from narrows.recipes.training.adversarial import AdversarialRecipe, AdversarialTraining
from narrows.recipes.training.run_folder import STATE
from narrows.tokenizers.restructured import restructured
from narrows.tokenizers.tokenizer import Tokenizer

LATENTS = "latents"  # folder of a run
PREFIXES = 8  # numbers of channels or codebooks whose reconstruction is validated
TABLE_CROPS = 256
STATISTICS_CROPS = 512
METRIC_CROPS = 16
MIN_VARIANCE = 1e-12  # of latents, relative to the square of their mean; below it they count as constant


@dataclass(frozen=True, kw_only=True)
class ReBottleneckRecipe(AdversarialRecipe):
    """A training run of a Re-Bottleneck.

    Args:
        codec: of latents: the inner encoder, the bottleneck and the inner decoder.
        base: the tokenizer whose codec gets it; it is not changed.
        data: training and validation data.
        quality_index: of a base with several qualities, see `ReBottleneck`.
        reconstruction: whether errors of latents count as they do to what is decoded (see `decoder_metric`), or all
            alike.
        alignment: weight of the loss, and the loss; None for no alignment.
        targets: makes the embedding or the label of a crop of an item; see `Targets`.
        equivariance_weight: weight of the losses of the transforms.
        transforms: of signals, which the latents follow.
    """

    base: Tokenizer
    data: LatentData
    quality_index: int | None = None
    reconstruction: Literal["decoded", "latents"] = "decoded"
    alignment: tuple[float, AlignmentLoss] | None = None
    targets: Targets | None = None
    equivariance_weight: float = 1.0
    transforms: Sequence[Transform] = ()
    best: dict[str, str] = field(default_factory=lambda: {"latents": "lower"})

    def training(self) -> "ReBottleneckTraining":
        """The Lightning module that trains this recipe."""
        return ReBottleneckTraining(self)

    def smoke(self) -> Self:
        """This recipe with a few small crops, two per step, and four steps."""
        return replace(
            self,
            data=replace(self.data, crops=8, valid_crops=4, batch_size=2, seconds=0.5, frames=8, crop_size=64),
            schedule=replace(self.schedule, steps=4, warmup_steps=1, validate_every=2),
            adversarial=replace(self.adversarial, start=min(2, self.adversarial.start)),
        )

    def on_synthetic_data(self, folder: Path) -> Self:
        """This recipe with synthetic media, which are written to `folder`."""
        match self.base.medium.name:
            case "audio":
                write_synthetic_audio(folder, self.base.sample_rate or 0)
            case "image":
                write_synthetic_images(folder)
            case _:
                write_synthetic_videos(folder)
        targets = None if self.targets is None else self.targets.on_synthetic_data()
        return replace(self, data=replace(self.data, train=folder, valid=None), targets=targets)


class ReBottleneckTraining(AdversarialTraining):
    """Trains a ReBottleneckRecipe.

    Args:
        recipe: Recipe to train.
    """

    recipe: ReBottleneckRecipe
    scale: Tensor
    _shards: LatentShards
    _valid_shards: LatentShards

    def __init__(self, recipe: ReBottleneckRecipe) -> None:
        axes = len(recipe.codec.stride)
        super().__init__(recipe, latent_grid=(4,) * axes, discriminator_start=recipe.adversarial.start)
        self._train = media_files(recipe.base, recipe.data.train)
        self._valid = self._train if recipe.data.valid is None else media_files(recipe.base, recipe.data.valid)
        self.register_buffer("scale", torch.ones(()))  # of the latents, for the discriminator
        self.alignment = None if recipe.alignment is None else recipe.alignment[1]
        dim = self._structured(recipe.codec, torch.zeros(1, recipe.codec.channels, *(4,) * axes))[0].shape[1]
        self.equivariance = nn.ModuleDict({each.name: EquivarianceLoss(each, dim) for each in recipe.transforms})

    @property
    def _reconstruction(self) -> LatentReconstructionLoss:
        found = self.losses["latents"]
        assert isinstance(found, LatentReconstructionLoss)
        return found

    @property
    def trainable(self) -> nn.Module:
        """The networks, and what the structure losses learn."""
        return nn.ModuleList([self.codec, self.equivariance, *([self.alignment] if self.alignment else [])])

    def found_data(self) -> dict[str, Any]:
        """What was found in the sources, and the fingerprint of the base."""
        return super().found_data() | {"base": self.recipe.base.fingerprint}

    def prepare(self, out: Path) -> None:
        """Make the latents of the training and validation crops, and read their statistics."""
        data, seed, origin = self.recipe.data, self.recipe.seed, self.recipe.base.origin
        if origin is not None and Path(origin).resolve().is_relative_to(out.resolve()):
            raise InputError(f"expected an --out without the base in it, got {out} with {origin}; choose another --out")
        train = self._preparation(self._train, data.crops, (seed, 2))
        valid = self._preparation(self._valid, data.valid_crops, (seed, 4))
        self._shards, self._valid_shards = _made(train, out / LATENTS / "train"), _made(valid, out / LATENTS / "valid")
        if (out / STATE).exists():
            return  # the state of the run has what follows
        z = torch.stack([self._shards.example(i).z for i in range(min(STATISTICS_CROPS, len(self._shards)))])
        self._statistics = Statistics.of(z)
        total = float(self._statistics.covariance.diagonal().sum())
        if not MIN_VARIANCE * (1 + float(self._statistics.mean.square().sum())) < total < inf:
            raise InputError(
                f"expected media whose latents vary, got a variance of {total:.3g} in {self._train}; give "
                "media that are not silent"
            )
        self._metric = torch.eye(z.shape[1], dtype=torch.float64) / total
        if self.recipe.reconstruction == "decoded":
            base, index = self.recipe.base, self.recipe.quality_index
            self._metric = decoder_metric(base, z[:METRIC_CROPS], self._statistics, index)
        self._reconstruction.set_root(square_root(self._metric))
        self.scale.fill_((total / z.shape[1]) ** 0.5)

    def _preparation(self, files: MediaFiles, count: int, seed: tuple[int, int]) -> Preparation:
        recipe, targets = self.recipe, self.recipe.targets
        crops = media_crops(recipe.base, files, recipe.data, count, seed)
        target = None if targets is None else (lambda x, item: targets(files, x, item))
        facts = {**files.found(), **recipe.data.facts(recipe.base.medium.name), "seed": seed}
        facts |= {} if targets is None else targets.facts(files)
        return Preparation(recipe.base, crops, recipe.transforms, target, facts)

    def initialize(self) -> None:
        """Start as a PCA of the latents."""
        initialize_latents(self.codec, self._statistics, self._metric)

    def tokenizer(self, codec: Codec) -> Tokenizer:
        """The base with the trained Re-Bottleneck."""
        inner = ReBottleneck(codec.encoder, codec.bottleneck, codec.decoder, self.recipe.quality_index)
        return restructured(self.recipe.base, inner)

    @torch.inference_mode()
    def fit_tables(self, tokenizer: Tokenizer) -> FrequencyTables | None:
        """Frequency tables of the codes of training latents; None for a codec without codes."""
        if not tokenizer.codebooks or tokenizer.entropy_model is not None:
            return None
        codes = []
        inner = getattr(tokenizer.codec.encoder, "inner", None)
        assert isinstance(inner, nn.Module)
        for index in range(min(TABLE_CROPS, len(self._shards))):
            z = self._shards.example(index).z[None]
            codes.append(tokenizer.codec.bottleneck.encode(inner(z)))
            if time.monotonic() > self.deadline:
                break
        return tokenizer.fit_tables(torch.cat(codes))

    def train_dataloader(self) -> DataLoader[LatentExample]:
        """Batches of latents of the next epoch, each with one transform."""
        return self._loader

    @cached_property
    def _loader(self) -> DataLoader[LatentExample]:
        data = self.recipe.data
        crops = LatentCrops(self._shards, self.crop_count(data.batch_size), data.batch_size, (self.recipe.seed, 3))
        return DataLoader(
            crops,
            batch_sampler=StepBatches(self.next_steps, data.batch_size),
            collate_fn=collated,
            worker_init_fn=begin_worker,
            generator=torch.Generator(),
        )

    def val_dataloader(self) -> DataLoader[LatentExample]:
        """This rank's batches of the validation latents, in order, each with every transform in turn."""
        size, shards = self.recipe.data.batch_size, self._valid_shards
        starts = range(ranks.rank() * size, len(shards), size * ranks.count())
        parts = [range(start, min(start + size, len(shards))) for start in starts]
        each = range(max(1, len(shards.transforms)))
        batches = [collated([shards.example(i, transform) for i in part]) for part in parts for transform in each]
        return DataLoader(batches, batch_size=None, generator=torch.Generator())  # type: ignore[arg-type]

    def transfer_batch_to_device(
        self, batch: LatentExample, device: torch.device, dataloader_idx: int
    ) -> LatentExample:
        """A batch on the device of the training."""
        return batch.to(device)

    def training_step(self, batch: LatentExample, index: int) -> None:
        """Train for one step on a batch of latents."""
        step, z = int(self.step), batch.z
        lr_fraction = self.schedule.lr_fraction(step)
        y = self.codec.analyze(z)
        quantized = self.codec.quantize(y)
        decoded = self.codec.synthesize(quantized.latents).float()
        values = quantized.losses | self.values(self.losses, decoded, z)
        total = self.weighted_sum(values)
        structure = self._structure(self.codec, batch, y, quantized.latents)
        for name, (weight, value) in structure.items():
            total, values[name] = total + weight * value, value
        if self.uses_discriminators(step):
            discriminator, real, fake = self.update_discriminators(z / self.scale, decoded / self.scale, lr_fraction)
            values["discriminator"], values["generator"] = discriminator, hinge_generator_loss(fake)
            values["feature_matching"] = feature_matching_loss(real, fake)
            weights = self.recipe.adversarial
            total = total + weights.weight * values["generator"] + weights.feature_weight * values["feature_matching"]
        self.update_codec(total, values, lr_fraction)

    def _structure(
        self, codec: Codec, batch: LatentExample, y: Tensor, latents: Tensor
    ) -> dict[str, tuple[float, Tensor]]:
        """The weight and value of each structure loss."""
        found: dict[str, tuple[float, Tensor]] = {}
        if self.recipe.alignment is None and not self.recipe.transforms:
            return found
        structured = self._channels(codec, y, latents)
        if self.recipe.alignment is not None and self.alignment is not None and batch.target is not None:
            found["alignment"] = self.recipe.alignment[0], self.alignment(structured, batch.target)
        if batch.transformed is not None and batch.parameters is not None:
            name = self.recipe.transforms[batch.transform].name
            other, _ = self._structured(codec, batch.transformed)
            value = self.equivariance[name](structured, other, batch.parameters)
            found[f"equivariance_{name}"] = self.recipe.equivariance_weight, value
        return found

    def _structured(self, codec: Codec, z: Tensor) -> tuple[Tensor, Tensor]:
        y = codec.analyze(z)
        latents = codec.quantize(y).latents
        return self._channels(codec, y, latents), latents

    @staticmethod
    def _channels(codec: Codec, y: Tensor, latents: Tensor) -> Tensor:
        """What gets a structure: continuous channels without noise, or the latents of codes."""
        return codec.bottleneck.encode_latents(y) if isinstance(codec.bottleneck, Continuous) else latents

    def validation_step(self, batch: LatentExample, index: int) -> None:
        """Log the error of latents, of whole codes and of prefixes, and the structure losses."""
        z, codec = batch.z, self.ema
        y = codec.analyze(z)
        latents = codec.quantize(y).latents
        reconstruction = self._reconstruction
        values: dict[str, Tensor | float] = {"latents": reconstruction.errors(codec.synthesize(latents), z).mean()}
        prefixes = codec.bottleneck.prefixes
        if len(prefixes) > 1:
            codes = codec.bottleneck.encode(y)
            for k in prefixes[:: -(-len(prefixes) // PREFIXES)]:
                decoded = codec.synthesize(codec.bottleneck.decode(codes[:, :k]))
                values[f"latents_{k}"] = reconstruction.errors(decoded, z).mean()
        values |= {name: value for name, (_, value) in self._structure(codec, batch, y, latents).items()}
        self.log_item(values)


def _made(preparation: Preparation, folder: Path) -> LatentShards:
    """The shards of a preparation, which the first rank makes and the others wait for."""
    if ranks.rank() or not ranks.is_launched_first():
        return preparation.wait(folder)
    shown = -1

    def progress(fraction: float) -> None:
        nonlocal shown
        if int(10 * fraction) > shown:
            shown = int(10 * fraction)
            print(f"latents of {folder.name}: {fraction:.0%}", flush=True)

    return preparation.run(folder, progress)
