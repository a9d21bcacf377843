"""Training of an audio codec: what it learns from one batch, and what a validation says of it."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from narrows.bitstream import Tables
from narrows.codecs.codec import Codec
from narrows.recipes.data.audio import Crops, Recordings
from narrows.recipes.initialization.pca import start_linear
from narrows.recipes.losses.adversarial import feature_loss, generator_loss
from narrows.recipes.settings import Recipe
from narrows.recipes.training.adversarial import Adversarial, modules_of, weights_of
from narrows.recipes.training.scores import speech_scores
from narrows.tokenizers.audio import AudioTokenizer

TABLE_SECONDS = 4 * 3600  # of training data that the frequency tables are fitted on


class Training(Adversarial):
    """A recipe for audio as a Lightning module.

    Crops are drawn by (seed, first step of the epoch, item), so a resumed run sees the same.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(
            recipe.codec,
            recipe.schedule,
            weights_of(recipe.losses, recipe.frame_losses) | dict(recipe.weights),
            recipe.optimizer,
            recipe.discriminators,
            recipe.adversary,
            recipe.straight,
        )
        self.recipe = recipe
        self.losses, self.frame_losses = modules_of(recipe.losses), modules_of(recipe.frame_losses)
        self._recordings = Recordings(recipe.data.train, recipe.sample_rate)
        self._valid = Recordings(recipe.data.valid, recipe.sample_rate)

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Crops of this epoch."""
        data, recipe = self.recipe.data, self.recipe
        samples = max(1, round(data.seconds * recipe.sample_rate) // recipe.codec.stride) * recipe.codec.stride
        step = int(self.step)
        crops = Crops(self._recordings, samples, self.steps_ahead * data.batch, (recipe.seed, step), data.speeds)
        return DataLoader(crops, batch_size=data.batch, num_workers=data.workers, pin_memory=torch.cuda.is_available())

    def begin(self) -> None:
        """A linear codec of the data, where the recipe says so."""
        if self.recipe.linear_start:
            start_linear(self.codec, self._recordings)

    def deliver(self, out: Path) -> Path:
        """Fit the frequency tables on training data and write the checkpoint folder."""
        return self.save(out, self.recipe.name, self.recipe.sample_rate)

    def tables(self, codec: Codec) -> Tables:
        """Frequency tables of what the codec makes of training data."""
        return fit_tables(AudioTokenizer(codec, self.recipe.sample_rate), self._recordings)

    def val_dataloader(self) -> DataLoader[Any]:
        """Whole recordings (T,), one at a time."""
        return DataLoader(self._valid, batch_size=1)

    def validation_step(self, x: Tensor, index: int) -> None:
        """Mean over recordings x (1, T) of what the averaged codec makes of them."""
        stride = self.recipe.codec.stride
        x = x.unsqueeze(1)
        padded = nn.functional.pad(x, (0, -x.shape[2] % stride))
        y = self.average(padded).x[:, :, : x.shape[2]].float()
        values = {name: loss(y, x) for name, loss in self.losses.items()}
        values |= speech_scores(x[0, 0].cpu(), y[0, 0].cpu(), self.recipe.sample_rate)
        self.log_dict({f"valid/{name}": value for name, value in values.items()}, prog_bar=True, batch_size=1)

    def training_step(self, x: Tensor, index: int) -> None:
        """One step on crops x (B, 1, T)."""
        step = int(self.step)
        rate = self.schedule.rate(step)
        quantized = self.codec.bottleneck(self.codec.encoder(x))
        values = dict(quantized.losses)
        values |= {name: loss(self.codec.decoder, quantized.latents, x) for name, loss in self.frame_losses.items()}
        if step >= self.schedule.signal or not self.frame_losses:
            y = self.codec.decoder(quantized.latents).float()
            values |= {name: loss(y, x) for name, loss in self.losses.items()}
        total = self.weighted(values)
        if self.has_begun(step):
            values["discriminators"], real, fake = self.judge(x, y, rate)
            values["score"], values["features"] = generator_loss(fake), feature_loss(real, fake)
            total = total + self.adversary.score * values["score"] + self.adversary.features * values["features"]
        self.improve(total, values, rate)


def fit_tables(tokenizer: AudioTokenizer, recordings: Recordings, seconds: float = TABLE_SECONDS) -> Tables:
    """Frequency tables for the symbols that a tokenizer makes of recordings at its rate, drawn from all over them."""
    codes, total = [], 0.0
    for index in recordings.shuffled():
        codes.append(tokenizer.encode(recordings[index], tokenizer.sample_rate).codes)
        total += recordings.seconds[index]
        if total > seconds:
            break
    return tokenizer.tables_for(torch.cat(codes, 2))
