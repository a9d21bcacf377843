"""What runs of image classifiers with codes inside share: labelled data, validation of real streams, the checkpoint."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from narrows.bitstream import FrequencyTables, inspect
from narrows.checkpoints import folder
from narrows.codecs import distributed as ranks
from narrows.codecs.image.narrowed import ClassifyingCodec
from narrows.errors import InputError
from narrows.recipes.data.labelled import LabelledBatches, LabelledImages, LabelledItems
from narrows.recipes.data.loading import crop_loader
from narrows.recipes.data.synthetic import write_labelled_images
from narrows.recipes.settings import LabelledData
from narrows.recipes.training.base import Recipe, Training
from narrows.recipes.training.fit_tables import fit_code_tables
from narrows.tokenizers.classifier import BATCH, ImageClassifier

TABLE_IMAGES = 4000  # on which the tables of the checkpoint are counted
VALIDATION_TABLE_IMAGES = 400  # the same for the streams of a validation
SMOKE_SIZE = 64  # pixels


@dataclass(frozen=True, kw_only=True)
class ClassifierRecipe(Recipe):
    """A training run of a classifier with codes inside.

    Args:
        codec: The network to train.
        data: Training and validation data.
    """

    codec: ClassifyingCodec  # type: ignore[assignment]
    data: LabelledData
    best: Mapping[str, str] = field(default_factory=lambda: {"accuracy": "higher"})

    def shortened(self, **phases: Any) -> Self:
        """This recipe with small images, four per step, six steps, and these numbers of steps of its phases."""
        return replace(
            self,
            **phases,
            data=replace(self.data, size=min(self.data.size, SMOKE_SIZE), label="label", batch_size=4, workers=0),
            schedule=replace(self.schedule, steps=6, warmup_steps=1, validate_every=3),
        )

    def on_synthetic_data(self, folder: Path) -> Self:
        """This recipe with synthetic images of its classes, which are written to `folder`."""
        write_labelled_images(folder, self.codec.classes)
        return replace(self, data=replace(self.data, train=folder, valid=folder))


class ClassifierTraining(Training):
    """Trains a ClassifierRecipe. A subclass implements `training_step` and `configure_optimizers`.

    Args:
        recipe: Recipe to train.

    Raises:
        InputError: For data of another number of classes than the network has.
    """

    recipe: ClassifierRecipe
    codec: ClassifyingCodec  # type: ignore[assignment]
    ema: ClassifyingCodec  # type: ignore[assignment]

    def __init__(self, recipe: ClassifierRecipe) -> None:
        super().__init__(recipe)
        data, classes = recipe.data, self.codec.classes
        self._train = LabelledImages(data.train, data.size, data.label)
        names = self._train.names
        if len(names) != classes:
            raise InputError(
                f"expected images of {classes} classes in data.train, as the network has, got {len(names)}; change the "
                "number of classes of the network"
            )
        self._valid = LabelledImages(data.valid, data.size, data.label, names)
        self._measured: ImageClassifier | None = None  # with the EMA weights and tables, during a validation

    @property
    def validates_codec(self) -> bool:
        """Whether the codec is trained so far that a validation of it makes sense."""
        return True

    def initialize(self) -> None:
        """Keep the weights of the recipe."""

    def classes_at(self, step: int) -> Sequence[int] | None:
        """The classes of which the images of a step are; None for all."""
        return None

    def tokenizer(self, codec: ClassifyingCodec) -> ImageClassifier:  # type: ignore[override]
        """An ImageClassifier with a trained network."""
        return ImageClassifier(codec, self.recipe.data.size, self._train.names)

    def fit_tables(self, tokenizer: ImageClassifier) -> FrequencyTables:  # type: ignore[override]
        """Frequency tables of the codes of training images."""
        return self._tables(tokenizer, TABLE_IMAGES)

    def add_tables(self, target: str | Path) -> None:
        """Fit frequency tables to the weights in a folder, as they are stored, and add them."""
        model = folder.read_classifier(target)
        model.tables = self.fit_tables(model)
        folder.save(target, model, self.recipe.dtype)

    def _tables(self, model: ImageClassifier, count: int) -> FrequencyTables:
        images = (pixels for _, pixels in islice(self._train.readable(self._train.shuffled()), count))
        codes = []
        while batch := list(islice(images, BATCH)):  # few images are in memory at a time
            codes += [tokens.codes for tokens in model.encode_batch(batch)]
        return fit_code_tables(model, torch.cat(codes))

    def train_dataloader(self) -> DataLoader[Any]:
        """Images (B, 3, size, size) with classes (B,) of the next epoch."""
        return self._draws

    @cached_property
    def _draws(self) -> DataLoader[Any]:
        data = self.recipe.data
        per_step = data.batch_size * ranks.count() * self.accumulate
        count, seed = self.crop_count(data.batch_size), (self.recipe.seed, 2)
        draws = LabelledBatches(self._train, count, seed, lambda index: self.classes_at(index // per_step))
        return crop_loader(draws, data, self.next_steps)

    def val_dataloader(self) -> DataLoader[Any]:
        """This rank's images (1, 3, size, size) with classes (1,)."""
        return DataLoader(LabelledItems(self._valid), batch_size=1, generator=torch.Generator())

    def on_validation_epoch_start(self) -> None:
        """Make what writes the streams of this validation."""
        super().on_validation_epoch_start()
        if self.validates_codec:
            self._measured = self.tokenizer(copy.deepcopy(self.ema))
            self._measured.name = self.recipe.name
            self._measured.tables = self._tables(self._measured, VALIDATION_TABLE_IMAGES)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Log accuracy and cross-entropy of a class that is found from a stream, and the bytes of the stream."""
        if not self.validates_codec:
            return
        assert self._measured is not None
        x, label = batch
        (stream,) = self._measured.compress([x[0].cpu()])
        logits = self._measured.classify([stream])
        values = {"loss": nn.functional.cross_entropy(logits, label.cpu())}
        values["accuracy"] = (logits.argmax(1) == label.cpu()).float().mean()
        self.log_item({**values, "bytes": len(stream), "payload_bytes": payload_bytes(stream)})

    def on_validation_epoch_end(self) -> None:
        """Log the means of the metrics of all items."""
        super().on_validation_epoch_end()
        self._measured = None


def payload_bytes(stream: bytes) -> int:
    """Entropy-coded bytes of a stream, without its header and checksums."""
    return inspect(stream).payload_bytes
