"""`run` with a recipe of one's own. Resuming and `init` are tested with audio recipes in test_audio."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import narrows
from narrows.codecs import FSQ, Codec, LDMDecoder, LDMEncoder
from narrows.recipes.data.images import ImageCrops, ImageFiles
from narrows.recipes.data.synthetic import write_synthetic_images
from narrows.recipes.training.base import Recipe, Training
from narrows.recipes.training.run import run
from narrows.tokenizers.image import ImageTokenizer
from narrows.tokenizers.tokenizer import Tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@dataclass(frozen=True, kw_only=True)
class OwnRecipe(Recipe):
    folder: Path = Path("data")

    def training(self) -> "OwnTraining":
        return OwnTraining(self)

    def smoke(self) -> Self:
        return replace(self, schedule=replace(self.schedule, steps=2, validate_every=1))

    def on_synthetic_data(self, folder: Path) -> Self:
        write_synthetic_images(folder)
        return replace(self, folder=folder)


class OwnTraining(Training):
    recipe: OwnRecipe

    def initialize(self) -> None:
        self.codec.decoder.requires_grad_(False)

    def tokenizer(self, codec: Codec) -> ImageTokenizer:
        return ImageTokenizer(codec)

    def fit_tables(self, tokenizer: Tokenizer) -> None:
        return None

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(
            ImageCrops(ImageFiles(self.recipe.folder), 32, 2 * len(self.next_steps()), (0,)), batch_size=2
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        parameters = [p for p in self.codec.parameters() if p.requires_grad]
        return torch.optim.SGD([{"params": parameters, "peak_lr": 0.1}], 0.1)

    def training_step(self, x: Tensor, index: int) -> None:
        assert self.codec.training
        optimizer: Any = self.optimizers()
        self.update(optimizer, (self.codec(x).x - x).square().mean(), 1.0, self.codec)
        self.update_ema(int(self.step))
        self.step += 1


def test_smoke_run_of_an_own_recipe_writes_a_checkpoint_that_loads(tmp_path: Path) -> None:
    codec = Codec(LDMEncoder(8, 8, (1, 2, 2), 1, 1, 4), FSQ(8, (5, 5), 2), LDMDecoder(8, 8, (1, 2, 2), 1, 1, 4))
    before = [p.clone() for p in codec.encoder.parameters()]
    tokenizer = narrows.load(run(OwnRecipe(name="own", codec=codec), tmp_path, smoke=True))
    assert isinstance(tokenizer, narrows.ImageTokenizer)
    assert tokenizer.encode(np.zeros((3, 30, 50), np.uint8)).codes.shape == (1, 2, 8, 13)
    assert not all(torch.equal(p, old) for p, old in zip(codec.encoder.parameters(), before, strict=True))
