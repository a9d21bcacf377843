"""Running a recipe: loop, devices, precision, saving and resuming are Lightning's; the checkpoint at the end is ours.

out/last.ckpt       state of the run, with optimisers; the same command goes on from here
out/metrics.jsonl   losses and validation scores over the steps
out/checkpoint/     the averaged codec, as `narrows.load` reads it
"""

import json
import logging
import pickle
import shutil
import signal
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar

from narrows.errors import InputError
from narrows.recipes.settings import Recipe
from narrows.recipes.training.base import Descent
from narrows.recipes.training.image_recipe import ImageRecipe
from narrows.recipes.training.tokenizer_recipe import TokenizerRecipe

REPORT_EVERY = 50  # steps


def run(
    recipe: Recipe | ImageRecipe | TokenizerRecipe, out: str | Path, init: str | None = None, smoke: bool = False
) -> Path:
    """Train until the recipe's last step and return the folder of the checkpoint.

    An interrupted run in `out` goes on where it was last saved. init: name or folder of a checkpoint of the same
    architecture whose weights are the start of a new run. smoke: pass through every part of a run in seconds, in the
    folder `smoke` below `out`, which is made anew.
    Raises InputError for weights of another architecture, for folders without media, and for an `out` that holds
    the run of another recipe, or any run while `init` is given.
    """
    out = Path(out) / "smoke" if smoke else Path(out)
    if smoke:
        shutil.rmtree(out, ignore_errors=True)
        recipe = recipe.smoke().on_made_up_data(out / "data")
    resumed = out / "last.ckpt"
    if resumed.exists() and init is not None:
        raise InputError(f"{out} holds a run already, which goes on from its own weights; choose another --out")
    lightning.seed_everything(recipe.seed, verbose=False)
    torch.set_flush_denormal(True)  # a CPU is slow with gradients next to nothing
    training = recipe.training()
    out.mkdir(parents=True, exist_ok=True)
    if resumed.exists():
        _resume(training, resumed)
    else:
        _start(training, init)
    if int(training.step) < recipe.schedule.steps:
        _fit(training, out, resumed if resumed.exists() else None)
    return training.deliver(out)


class _Report(Callback):
    """Losses now and then and each validation's scores, as lines of JSON; the scores on standard output as well."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any) -> None:
        if int(pl_module.step) % REPORT_EVERY == 0:  # type: ignore[arg-type]
            self._line(pl_module, {name: value for name, value in trainer.callback_metrics.items() if "/" not in name})

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        print(self._line(pl_module, trainer.callback_metrics), flush=True)

    def _line(self, training: lightning.LightningModule, values: dict[str, Any]) -> str:
        rounded = {name: round(float(value), 4) for name, value in values.items()}
        line = json.dumps({"step": int(training.step), **rounded})  # type: ignore[arg-type]
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        return line


def _fit(training: Descent, out: Path, resumed: Path | None) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    settings: dict[str, Any] = {"precision": "bf16-mixed"} if torch.cuda.is_available() else {}
    saver = ModelCheckpoint(
        out, filename="last", save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=True
    )
    interrupt = signal.getsignal(signal.SIGINT)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # advice on workers and loggers, not on this run
        trainer = lightning.Trainer(
            max_epochs=-1,  # the training says when its last step is done
            default_root_dir=out,
            logger=False,
            callbacks=[saver, _Report(out / "metrics.jsonl"), RichProgressBar()],
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
            enable_model_summary=False,
            **settings,
        )
        try:
            trainer.fit(training, ckpt_path=resumed, weights_only=True)
        except SystemExit:  # how it ends on Ctrl-C
            signal.signal(signal.SIGINT, interrupt)
            raise KeyboardInterrupt from None


def _resume(training: Descent, path: Path) -> None:
    """Load the weights and the step of a saved run; Lightning will load the rest, where there is more to do."""
    advice = "go on with the recipe and settings that it was begun with, or choose another --out"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
        training.load_state_dict(state)
    except (OSError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the run in {path.parent} cannot go on ({reason}); {advice}") from error


def _start(training: Descent, init: str | None) -> None:
    """Weights of a run that begins: those of a checkpoint, or what the recipe begins with."""
    from narrows.checkpoints.load import load

    if init is None:
        training.begin()
    else:
        weights = load(init).codec.state_dict()
        wanted = {name: value.shape for name, value in training.codec.state_dict().items()}
        given = {name: value.shape for name, value in weights.items()}
        if wanted != given:
            raise InputError(f"the weights of {init} are those of another architecture than the recipe's")
        training.codec.load_state_dict(weights)
    training.average.load_state_dict(training.codec.state_dict())
