"""Audio codecs: the recipe, and the Lightning module that trains it.

x ──▶ encoder ──▶ bottleneck ──▶ decoder ──▶ y        frame losses (decoder, latents, x) from the first step on
                                                      losses (y, x) from `signal_loss_start` on
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from narrows.bitstream import FrequencyTables, PredictedTables
from narrows.codecs.codec import Codec
from narrows.errors import InputError, shortened
from narrows.recipes.data.audio import AudioCrops, AudioFiles
from narrows.recipes.data.loading import crop_loader, whole_loader
from narrows.recipes.data.synthetic import write_synthetic_audio
from narrows.recipes.initialization.pca import initialize_pca
from narrows.recipes.losses.adversarial import feature_matching_loss, hinge_generator_loss
from narrows.recipes.settings import AudioData, Prediction, check_range
from narrows.recipes.training.adversarial import AdversarialRecipe, AdversarialTraining, Losses
from narrows.recipes.training.fit_predicted import digits_of, fit_predicted_tables
from narrows.recipes.training.fit_tables import encoded
from narrows.recipes.training.speech_metrics import speech_metrics
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.tokenizer import Tokenizer

PARTS = ("encoder", "bottleneck", "decoder")


@dataclass(frozen=True, kw_only=True)
class AudioRecipe(AdversarialRecipe):
    """A training run of an audio codec.

    Args:
        sample_rate: Sample rate of the codec in Hz.
        data: Training and validation data.
        frame_losses: Losses by name: a weight and a module that takes decoder, latents (B, D, F) and original signal
            (B, C, T), and returns a scalar. They need no decoded signal.
        signal_loss_start: First step at which `losses`, which compare signals (B, C, T), are used and the signal is
            decoded; before it only `frame_losses` train the codec. Without frame losses it is 0.
        pca_initialization: Whether the codec starts as a PCA of the training data's spectra (see initialization/pca).
        linear_lr_fraction: Learning rate of the linear layers that PCA sets, as a fraction of the codec's.
        prediction: Networks that predict the frequencies of codes; none by default.
        frozen: Parts of the codec that keep their weights: "encoder", "bottleneck", "decoder".
    """

    sample_rate: int
    data: AudioData
    frame_losses: Losses = field(default_factory=dict)
    signal_loss_start: int = 0
    pca_initialization: bool = False
    linear_lr_fraction: float = 0.1
    prediction: Prediction = field(default_factory=lambda: Prediction(steps=0))
    frozen: tuple[str, ...] = ()
    best: Mapping[str, str] = field(default_factory=lambda: {"pesq": "higher", "estoi": "higher", "spectral": "lower"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(0, signal_loss_start=self.signal_loss_start, linear_lr_fraction=self.linear_lr_fraction)
        for name in self.frozen:
            if name not in PARTS:
                raise InputError(f"expected frozen parts of {', '.join(PARTS)}, got {shortened(name)}")
        if {*PARTS} <= {*self.frozen}:
            raise InputError("expected a part that is trained, got all parts frozen; leave one out")
        trained = {*PARTS} - {*self.frozen}
        if not any(True for name in trained for _ in getattr(self.codec, name).parameters()):
            raise InputError(
                f"expected weights to train, got frozen parts {', '.join(self.frozen)}, and none in the others; leave "
                "one out"
            )

    @property
    def other_losses(self) -> Losses:
        """The frame losses."""
        return self.frame_losses

    def training(self) -> "AudioTraining":
        """The Lightning module that trains this recipe."""
        return AudioTraining(self)

    def smoke(self) -> Self:
        """This recipe with half a second of audio, two crops per step and six steps."""
        return replace(
            self,
            data=replace(self.data, seconds=0.5, batch_size=2, workers=0),
            schedule=replace(self.schedule, steps=6, warmup_steps=2, validate_every=3),
            signal_loss_start=2,
            prediction=replace(self.prediction, steps=min(self.prediction.steps, 3)),
            adversarial=replace(self.adversarial, start=3),
        )

    def on_synthetic_data(self, folder: Path) -> Self:
        """This recipe with synthetic vowels, which are written to `folder`."""
        scalars = self.codec.bottleneck.dim if self.pca_initialization else 0  # the PCA needs as many frames, at least
        seconds = max(2.0, 1.25 * scalars * self.codec.stride[0] / self.sample_rate)
        write_synthetic_audio(folder, self.sample_rate, seconds)
        return replace(self, data=replace(self.data, train=folder, valid=folder))


class AudioTraining(AdversarialTraining):
    """Trains an AudioRecipe.

    Args:
        recipe: Recipe to train.
    """

    recipe: AudioRecipe

    def __init__(self, recipe: AudioRecipe) -> None:
        signal_loss_start = recipe.signal_loss_start if recipe.frame_losses else 0
        for name in recipe.frozen:
            getattr(recipe.codec, name).requires_grad_(False)
        super().__init__(
            recipe,
            latent_grid=(16,),
            discriminator_start=max(recipe.adversarial.start, signal_loss_start),
            linear_lr_fraction=recipe.linear_lr_fraction,
        )
        self._signal_loss_start = signal_loss_start
        self._train = AudioFiles(recipe.data.train, recipe.sample_rate, recipe.codec.channels)
        self._valid = AudioFiles(recipe.data.valid, recipe.sample_rate, recipe.codec.channels)

    def train(self, mode: bool = True) -> Self:
        """Frozen parts stay in evaluation mode: no dropout, noise or moving averages."""
        super().train(mode)
        for name in self.recipe.frozen:
            getattr(self.codec, name).eval()
        return self

    def initialize(self) -> None:
        """Initialise the codec with a PCA of the training data, if the recipe says so."""
        if self.recipe.pca_initialization:
            initialize_pca(self.codec, self._train)

    def tokenizer(self, codec: Codec) -> AudioTokenizer:
        """An AudioTokenizer at the sample rate of the recipe."""
        return AudioTokenizer(codec, self.recipe.sample_rate)

    def fit_tables(self, tokenizer: Tokenizer) -> FrequencyTables | PredictedTables | None:
        """Tables of the codes of training recordings; None for a codec without codes."""
        if not tokenizer.codebooks:
            return None
        codes = encoded(cast(AudioTokenizer, tokenizer), self._train, deadline=self.deadline)
        prediction = self.recipe.prediction
        if not prediction.steps:
            return tokenizer.fit_tables(torch.cat(codes, 2))
        recordings = [group for recording in codes for group in recording]
        digits = digits_of(tokenizer.codec.bottleneck)
        return fit_predicted_tables(recordings, digits, prediction, self.recipe.seed, self.deadline)

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Crops (B, C, T) of the next epoch, T a multiple of the codec's stride."""
        return self._crops

    @cached_property
    def _crops(self) -> DataLoader[Tensor]:
        data, recipe, (stride,) = self.recipe.data, self.recipe, self.codec.stride
        samples = max(1, round(data.seconds * recipe.sample_rate) // stride) * stride
        crops = AudioCrops(self._train, samples, self.crop_count(data.batch_size), (recipe.seed, 2), data.speeds)
        return crop_loader(crops, data, self.next_steps)

    def val_dataloader(self) -> DataLoader[Any]:
        """This rank's recordings (1, C, T), whole, one at a time."""
        return whole_loader(self._valid)

    def training_step(self, x: Tensor, index: int) -> None:
        """Train for one step on crops x (B, C, T)."""
        step = int(self.step)
        lr_fraction = self.schedule.lr_fraction(step)
        quantized = self.codec.quantize(self.codec.analyze(x))
        values = quantized.losses | self.values(self.other_losses, self.codec.decoder, quantized.latents, x)
        if step >= self._signal_loss_start:
            y = self.codec.synthesize(quantized.latents).float()
            values |= self.values(self.losses, y, x)
        total = self.weighted_sum(values)
        if self.uses_discriminators(step):
            values["discriminator"], real, fake = self.update_discriminators(_mono(x), _mono(y), lr_fraction)
            values["generator"], values["feature_matching"] = (
                hinge_generator_loss(fake),
                feature_matching_loss(real, fake),
            )
            weights = self.recipe.adversarial
            total = total + weights.weight * values["generator"] + weights.feature_weight * values["feature_matching"]
        self.update_codec(total, values, lr_fraction)

    def validation_step(self, x: Tensor, index: int) -> None:
        """Log losses of the EMA codec on a recording x (1, C, T), and PESQ and ESTOI of one with one channel."""
        padded = nn.functional.pad(x, (0, -x.shape[2] % self.codec.stride[0]))
        y = self.ema(padded).x[:, :, : x.shape[2]].float()
        values: dict[str, Tensor | float] = dict(self.values(self.losses, y, x))
        if self.codec.channels == 1:
            values |= speech_metrics(x[0, 0].cpu(), y[0, 0].cpu(), self.recipe.sample_rate)
        self.log_item(values)
        self.log_sample(x[0], {"decoded": y[0]}, self.recipe.sample_rate)


def _mono(x: Tensor) -> Tensor:
    """The channels of signals (B, C, T) as signals of their own, (B C, 1, T)."""
    return x.flatten(0, 1).unsqueeze(1)
