"""Base classes of training runs: the abstract recipe and the Lightning module that trains it.

Recipe      what to train: codec, data, losses, optimizer, schedule. A frozen dataclass.
Training    how to train it: optimizer steps, gradient clipping, EMA of the weights, the final checkpoint.

Most own recipes are functions that return an `AudioRecipe` or an `ImageTokenizerRecipe`. For another kind of training,
subclass both classes. `run(recipe, folder)` trains it, and so does `lightning.Trainer.fit(recipe.training())`. Use
`recipes.data.loading.crop_loader`, which gives each step and each rank its own data, and `update`, `log_step` and
`log_item`, which bring the ranks together. Count with `self.step`: Lightning's own counters are not saved.

A step has `accumulate` batches. `training_step` is called for each, and ends with `end_batch`.
"""

import copy
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Self

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from narrows.bitstream import FrequencyTables, PredictedTables
from narrows.checkpoints import folder
from narrows.checkpoints.load import load
from narrows.codecs import distributed as ranks
from narrows.codecs.codec import Codec
from narrows.errors import InputError, shortened
from narrows.recipes.data.files import MediaFiles
from narrows.recipes.settings import AdamW, Schedule, check_range
from narrows.recipes.training.samples import MAX_SAMPLES, as_signal
from narrows.report.embedding import MediaSample
from narrows.tokenizers.tokenizer import Tokenizer

MAX_GRADIENT_NORM = 1.0
MAX_SKIPPED = 100  # consecutive steps of an optimizer with a loss or gradients that are not finite


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """All settings of a training run except the device and the output folder.

    Args:
        name: Name of the trained checkpoint.
        codec: The codec to train, with its initial weights.
        optimizer: Optimizer of the codec.
        schedule: Length of the run and learning-rate schedule.
        seed: Seed of data order, crops and noise, 0 to 2^32 - 1.
        best: Metrics of a validation with "higher" or "lower", whichever is better: the first one that is logged
            decides which weights are kept in `best/`.
        half: Whether weights are stored in float16; statistics of codebooks never are.
    """

    name: str
    codec: Codec
    optimizer: AdamW = field(default_factory=AdamW)
    schedule: Schedule = field(default_factory=Schedule)
    seed: int = 0
    best: Mapping[str, str] = field(default_factory=lambda: {"loss": "lower"})
    half: bool = True

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype of stored weights; None for that of the codec."""
        return torch.float16 if self.half else None

    def __post_init__(self) -> None:
        folder.check_name(self.name)
        check_range(0, 2**32 - 1, seed=self.seed)
        for name, better in self.best.items():
            if better not in ("higher", "lower"):
                raise InputError(f"expected higher or lower as best[{name!r}], got {shortened(better)}")

    @abstractmethod
    def training(self) -> "Training":
        """The Lightning module that trains this recipe.

        Raises:
            InputError: For incompatible settings, and for folders without media.
        """

    @abstractmethod
    def smoke(self) -> Self:
        """A copy of this recipe for a smoke test: tiny batches and a few steps through every phase of training."""

    @abstractmethod
    def on_synthetic_data(self, folder: Path) -> Self:
        """A copy of this recipe that trains and validates on synthetic data, which is written to `folder`."""


class Training(lightning.LightningModule, ABC):
    """The Lightning module that trains a codec.

    One epoch is `schedule.validate_every` steps. Each parameter group of an optimizer holds its peak learning rate as
    `peak_lr`. `ema` is a copy of the codec whose weights are the exponential moving average of the trained weights.

    The ranks of a distributed run hold the same weights: each has its own data and noise, and `update` averages their
    gradients. Noise depends on the seed of the recipe, the step and the rank, and on nothing before, so a resumed run
    equals an uninterrupted one.

    Args:
        recipe: Recipe to train.

    Attributes:
        step: The number of steps done.
        accumulate: Batches of a step, whose gradients are averaged; `run` sets it.
        batch: The number of batches of this step that are done.
        deadline: Reading of `time.monotonic` at which `fit_tables` must end with what it has counted.
        samples: Items of the last validation, on each rank its own.
    """

    recipe: Recipe
    step: Tensor

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.recipe, self.codec, self.schedule = recipe, recipe.codec, recipe.schedule
        self.ema = copy.deepcopy(recipe.codec).requires_grad_(False).eval()
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self._started = False  # whether the weights are set
        self._optimizer_states: list[dict[str, Any]] = []  # of a run that is resumed
        self._validated: list[dict[str, float]] = []
        self.samples: list[MediaSample] = []
        self.accumulate, self.batch, self.deadline = 1, 0, inf
        self._ended = True  # whether `end_batch` was called for the last batch
        self._logged: dict[str, Tensor] = {}  # sums over the batches of this step
        self._not_finite: dict[int, Tensor] = {}  # losses of this step, by optimizer
        self.skipped = 0  # steps of the run, in which a loss or gradients were not finite
        self.last_skipped = 0  # the number of the last of them, from 1; 0 without any
        self._in_a_row: Counter[int] = Counter()  # skipped steps, by the id of the optimizer's first parameter

    def prepare(self, out: Path) -> None:
        """Make what the training needs in the folder of the run, before the weights are set; nothing by default.

        All ranks call it. The first one makes files; the others wait for them.
        """

    @abstractmethod
    def initialize(self) -> None:
        """Set the codec's weights at the start of a new run. Does nothing if training starts from random weights."""

    @abstractmethod
    def tokenizer(self, codec: Codec) -> Tokenizer:
        """A tokenizer with a trained codec, to be stored in the checkpoint."""

    @abstractmethod
    def fit_tables(self, tokenizer: Tokenizer) -> FrequencyTables | PredictedTables | None:
        """Frequency tables for entropy coding of a trained codec, counted on training data.

        Returns:
            The tables, or None for a codec without codebooks.
        """

    def start(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Set the weights of a new run: the given ones of the codec, or those of `initialize`."""
        if weights is None:
            self.initialize()
        else:
            self.codec.load_state_dict(weights)
        self.ema.load_state_dict(self.codec.state_dict())
        self._started = True

    def setup(self, stage: str) -> None:
        """Start a new run, if neither `start` nor `load_run_state` was called. Lightning calls it."""
        if stage == "fit" and not self._started:
            self.start()

    def run_state(self) -> dict[str, Any]:
        """All that a run needs to go on: weights, step and optimizers, and what `on_save_checkpoint` adds."""
        states = self._optimizer_states or [optimizer.state_dict() for optimizer in self.trainer.optimizers]
        state: dict[str, Any] = {"state_dict": self.state_dict(), "optimizer_states": states}
        state["skipped"] = (self.skipped, self.last_skipped)
        self.on_save_checkpoint(state)
        return state

    def load_run_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `run_state` returned.

        Raises:
            InputError: For weights of other names or shapes, and for optimizers of other parameters.
            KeyError, TypeError: For anything else.
        """
        if different := first_difference(self.state_dict(), state["state_dict"]):
            raise InputError(f"the shapes of the network cannot be changed, got {different}")
        self.load_state_dict(state["state_dict"])
        states: list[dict[str, Any]] = state["optimizer_states"]
        expected = [_group_sizes(optimizer.state_dict()) for optimizer in self.made_optimizers()]
        found = [_group_sizes(optimizer) for optimizer in states]
        if expected != found:
            groups = f"groups of {_listed(found)} trained parameters -> {_listed(expected)}"
            raise InputError(f"the trained parameters cannot be changed, got {groups}")
        self.skipped, self.last_skipped = state["skipped"]
        self.on_load_checkpoint(dict(state))
        self._optimizer_states, self._started = states, True

    def found_data(self) -> dict[str, Any]:
        """What was found in the sources of media that this object holds as attributes, for the record of the run."""
        return {name: files.found() for name, files in self._media().items()}

    def _media(self) -> dict[str, MediaFiles]:
        return {name.strip("_"): value for name, value in vars(self).items() if isinstance(value, MediaFiles)}

    def next_steps(self) -> range:
        """The batches of the next epoch by number; it ends at the next multiple of `schedule.validate_every` steps."""
        step, every = int(self.step), self.schedule.validate_every
        return range(step * self.accumulate, min((step // every + 1) * every, self.schedule.steps) * self.accumulate)

    def crop_count(self, batch_size: int) -> int:
        """Number of crops of all steps and ranks, with `batch_size` of them per batch and rank."""
        return self.schedule.steps * self.accumulate * ranks.count() * batch_size

    def made_optimizers(self) -> list[torch.optim.Optimizer]:
        """The optimizers of `configure_optimizers`, newly made."""
        made: Any = self.configure_optimizers()
        return list(made) if isinstance(made, list | tuple) else [made]

    def on_train_start(self) -> None:
        """Give the optimizers the state of a run that is resumed, and the settings of this recipe, which may differ."""
        for name, files in self._media().items():
            if ranks.rank() == 0:
                print(f"{name}: {files}", flush=True)
        for optimizer, state in zip(self.trainer.optimizers, self._optimizer_states, strict=False):
            optimizer.load_state_dict(state)
        self._optimizer_states = []
        for optimizer, made in zip(self.trainer.optimizers, self.made_optimizers(), strict=True):
            for group, settings in zip(optimizer.param_groups, made.param_groups, strict=True):
                group.update({name: value for name, value in settings.items() if name != "params"})

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the noise of this step, rank and batch."""
        self._ended = False
        sequence = np.random.SeedSequence((self.recipe.seed, int(self.step), ranks.rank(), self.batch))
        seed = int(sequence.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Check that a step with several batches can be counted."""
        if self.accumulate > 1 and not self._ended:
            raise InputError(
                f"expected {type(self).__name__}.training_step to call end_batch, which --accumulate needs; call it "
                "in place of update_ema, log_step and the count of the step"
            )

    def end_batch(self, values: Mapping[str, Tensor]) -> None:
        """End a batch, and after the last batch of a step the step: EMA of the weights, count, logging.

        Args:
            values: Scalars to log; means over the batches of the step and the ranks.
        """
        self._ended = True
        self.batch += 1
        self._logged = {name: value.detach().float() + self._logged.get(name, 0.0) for name, value in values.items()}
        if self.batch == self.accumulate:
            self.update_ema(int(self.step))
            self.step += 1
            self.log_step({name: total / self.accumulate for name, total in self._logged.items()})
            self.batch, self._logged = 0, {}

    def log_step(self, values: Mapping[str, Tensor]) -> None:
        """Log scalars of a training step, means over the ranks."""
        stacked = torch.stack([value.detach().float() for value in values.values()])
        means = ranks.total(stacked) / ranks.count()
        self.log_dict(dict(zip(values, means.unbind(), strict=True)), prog_bar=True)

    def log_item(self, values: Mapping[str, Tensor | float]) -> None:
        """Log metrics of one validation item; `valid/NAME` is the mean over the items of all ranks that have NAME."""
        self._validated.append({name: float(value) for name, value in values.items()})

    def log_sample(self, original: Tensor, decoded: Mapping[str, Tensor], sample_rate: int | None = None) -> None:
        """Keep a validation item as a sample of the run, in files, loggers and the report: the first few items.

        Args:
            original: Audio (C, T), or an image (C, H, W) or clip (C, T, H, W) with 1 or 3 channels, in [-1, 1].
            decoded: Decoded signals of the same shape, by name.
            sample_rate: Sample rate of audio in Hz; None for images and clips.
        """
        if len(self.samples) < MAX_SAMPLES:
            name = str(ranks.rank() + len(self.samples) * ranks.count() + 1)
            signals = {each: as_signal(tensor, sample_rate) for each, tensor in decoded.items()}
            self.samples.append(MediaSample(name, as_signal(original, sample_rate), signals))

    def on_validation_epoch_start(self) -> None:
        """Forget the samples of the validation before."""
        self.samples = []

    def on_validation_epoch_end(self) -> None:
        """Log the means of the metrics of all items."""
        items = [item for rank in ranks.gather_objects(self._validated) for item in rank]
        self._validated = []
        for name in dict.fromkeys(name for item in items for name in item):
            found = [item[name] for item in items if name in item]
            self.log(f"valid/{name}", sum(found) / len(found))
        for files in self._media().values():
            files.report_skipped()

    def on_train_epoch_end(self) -> None:
        """End the run after its last step."""
        if int(self.step) >= self.schedule.steps:
            self.trainer.should_stop = True

    def write_checkpoint(self, target: str | Path) -> None:
        """Fit the frequency tables and write the EMA codec to a folder, for `narrows.load`. One rank does it for all.

        `run` does it at its end; after `Trainer.fit`, call it yourself.

        Raises:
            InputError: If all steps of the run were skipped.
        """
        self.check_skipped()
        self.write_codec(target)
        self.add_tables(target)

    def write_codec(self, target: str | Path) -> None:
        """Write the EMA codec to a folder, without frequency tables."""
        tokenizer = self.tokenizer(copy.deepcopy(self.ema).cpu())
        tokenizer.name = self.recipe.name
        folder.save(target, tokenizer, self.recipe.dtype)

    def add_tables(self, target: str | Path) -> None:
        """Fit frequency tables to the weights in a folder, as they are stored, and add them."""
        tokenizer = load(target)
        tokenizer.tables = self.fit_tables(tokenizer)
        folder.save(target, tokenizer, self.recipe.dtype)

    def check_skipped(self) -> None:
        """Raise InputError if all steps of the run were skipped, so that nothing was trained."""
        if self.skipped == int(self.step) > 0:
            raise InputError(
                f"expected finite losses and gradients, got NaN or infinity in all {self.skipped} steps, so nothing "
                "was trained; check losses and data, and start again in another --out"
            )

    def update(self, optimizer: Any, loss: Tensor, lr_fraction: float, module: nn.Module) -> None:
        """Add the gradients of a batch; after the last batch of a step, do the optimizer step.

        Args:
            optimizer: Optimizer of the parameters of `module`.
            loss: Scalar to minimise.
            lr_fraction: Learning rate as a fraction of each parameter group's `peak_lr`.
            module: Module whose gradients are clipped to the norm `MAX_GRADIENT_NORM`.

        Raises:
            InputError: After `MAX_SKIPPED` skipped steps of the optimizer without another one between them.
        """
        self.add_gradients(optimizer, loss)
        self.step_optimizer(optimizer, lr_fraction, module)

    def add_gradients(self, optimizer: Any, loss: Tensor) -> None:
        """Add the gradients of a batch."""
        if self.batch == 0:
            optimizer.zero_grad()
        key, wrong = _key(optimizer), 1 - loss.detach().isfinite().float()
        self._not_finite[key] = wrong + (self._not_finite[key] if self.batch else 0.0)
        self.manual_backward(loss / self.accumulate)

    def step_optimizer(self, optimizer: Any, lr_fraction: float, module: nn.Module) -> None:
        """After the last batch of a step, do one optimizer step with the mean of the ranks' gradients, clipped.

        A step with a loss or gradients that are not finite on any rank is skipped on all ranks.
        """
        if self.batch < self.accumulate - 1:
            return
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * lr_fraction
        ranks.average_gradients(module.parameters())
        norm = nn.utils.clip_grad_norm_(module.parameters(), MAX_GRADIENT_NORM)
        key = _key(optimizer)
        if norm.isfinite() & (ranks.total(self._not_finite[key]) == 0):
            optimizer.step()
            self._in_a_row[key] = 0
            return
        self._in_a_row[key] += 1
        number = int(self.step) + 1
        self.skipped += number != self.last_skipped  # with several optimizers, a step is counted once
        self.last_skipped = number
        if self._in_a_row[key] >= MAX_SKIPPED:
            raise InputError(
                f"expected finite losses and gradients, got NaN or infinity in {MAX_SKIPPED} steps up to step "
                f"{int(self.step)}; start again with a lower learning rate, or check losses and data"
            )

    @torch.no_grad()
    def update_ema(self, step: int) -> None:
        """Update the EMA of the weights; its decay is smaller in the first steps, to forget the initial weights."""
        decay = min(self.schedule.ema_decay, (1 + step) / (10 + step))
        averaged, current = self.ema.state_dict(), self.codec.state_dict()
        for name, value in averaged.items():
            if value.is_floating_point():
                value.lerp_(current[name], 1 - decay)
            else:
                value.copy_(current[name])


def first_difference(new: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> str | None:
    """Name, old and new shape of the first tensor that two state dicts do not share; None if there is none."""
    for name in [*new, *old]:
        shapes = [tuple(each[name].shape) if name in each else None for each in (old, new)]
        if shapes[0] != shapes[1]:
            return f"{name} {' -> '.join('none' if shape is None else str(shape) for shape in shapes)}"
    return None


def _key(optimizer: Any) -> int:
    return id(optimizer.param_groups[0]["params"][0])


def _listed(groups: list[list[int]]) -> str:
    return " and ".join(" + ".join(map(str, sizes)) for sizes in groups)


def _group_sizes(optimizer: Mapping[str, Any]) -> list[int]:
    return [len(group["params"]) for group in optimizer["param_groups"]]
