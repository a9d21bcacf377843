"""`run` with a recipe of one's own. Resuming and `init` are tested with audio recipes in test_audio."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import narrows
from narrows.codecs import FSQ, Codec, LDMDecoder, LDMEncoder
from narrows.errors import InputError
from narrows.recipes.data.images import ImageCrops, ImageFiles
from narrows.recipes.data.synthetic import write_synthetic_images
from narrows.recipes.settings import Schedule
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


class AccumulatingTraining(OwnTraining):
    def training_step(self, x: Tensor, index: int) -> None:
        loss = (self.codec(x).x - x).square().mean()
        self.update(self.optimizers(), loss, 1.0, self.codec)
        self.end_batch({"loss": loss})

    def train_dataloader(self) -> DataLoader[Tensor]:
        crops = ImageCrops(ImageFiles(self.recipe.folder), 32, 4, (0,))
        return DataLoader(crops, batch_size=2 // self.accumulate)


@pytest.fixture
def own(tmp_path: Path) -> OwnRecipe:
    torch.manual_seed(0)
    codec = Codec(LDMEncoder(8, 8, (1, 2, 2), 1, 1, 4), FSQ(8, (5, 5), 2), LDMDecoder(8, 8, (1, 2, 2), 1, 1, 4))
    recipe = OwnRecipe(name="own", codec=codec, schedule=Schedule(steps=2)).on_synthetic_data(tmp_path / "data")
    return recipe


def test_batches_of_an_own_training_are_accumulated(
    own: OwnRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OwnRecipe, "training", lambda self: AccumulatingTraining(self))
    states = []
    for batches in (1, 2):
        run(copy.deepcopy(own), tmp_path / str(batches), accumulate=batches)
        states.append(torch.load(tmp_path / str(batches) / "last.ckpt", weights_only=True)["state_dict"])
        assert json.loads((tmp_path / str(batches) / "recipe.json").read_text())["accumulate"] == batches
    assert [int(state["step"]) for state in states] == [2, 2]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match=r"got accumulate 2 -> 1; use another --out, or --change"):
        run(copy.deepcopy(own), tmp_path / "2")


def test_batches_that_are_not_counted_are_not_accumulated(own: OwnRecipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"OwnTraining.training_step to call end_batch, which --accumulate needs"):
        run(own, tmp_path / "run", accumulate=2)


class Unstable(nn.Module):
    """A loss that is NaN in some of its calls in training, counted from 1."""

    def __init__(self, calls: range) -> None:
        super().__init__()
        self.calls, self.count = calls, 0

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        self.count += x.requires_grad
        wrong = x.requires_grad and self.count in self.calls
        return (x - target).abs().mean() * (float("nan") if wrong else 1.0)


@pytest.mark.parametrize("smoke", [False, True])
def test_a_run_whose_steps_were_all_skipped_has_no_checkpoint(
    tiny: Callable[..., Recipe], tmp_path: Path, smoke: bool
) -> None:
    steps = 6 if smoke else 7
    expected = rf"got NaN or infinity in all {steps} steps, so nothing was trained; check losses and data"
    for _ in range(1 if smoke else 2):  # the same command once more
        with pytest.raises(InputError, match=expected):
            run(tiny(losses={"nan": (1.0, Unstable(range(1, 99)))}), tmp_path, smoke=smoke)
    assert not (tmp_path / "checkpoint").exists()


def test_skipped_steps_are_counted_in_one_line(
    tiny: Callable[..., Recipe], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tiny(losses={"nan": (1.0, Unstable(range(4, 6)))}), tmp_path)
    line = "skipped 2 of 7 steps, the last of them step 5: their losses or gradients were not finite\n"
    assert line in capsys.readouterr().out
    recipe = tiny(losses={"nan": (1.0, Unstable(range(4, 6)))})  # counts from a resumed run too
    run(replace(recipe, schedule=replace(recipe.schedule, steps=8)), tmp_path, change=True)
    assert line.replace("of 7", "of 8") in capsys.readouterr().out
    run(tiny(), tmp_path / "other")
    assert "skipped" not in capsys.readouterr().out


def test_an_own_trainer_gets_no_checkpoint_of_skipped_steps(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    training = tiny(losses={"nan": (1.0, Unstable(range(1, 99)))}).training()
    training.step += 3
    training.skipped = 3
    with pytest.raises(InputError, match="in all 3 steps"):
        training.write_checkpoint(tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


def test_metrics_have_one_line_for_each_step(
    tiny: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("narrows.recipes.training.loop.LOG_EVERY", 2)
    run(tiny(), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3, 4, 6, 7]  # validated at 3, 6 and 7
    assert {"loss", "spectral", "valid/spectral"} <= lines[3].keys()
