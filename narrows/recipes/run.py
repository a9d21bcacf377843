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
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar

from narrows.bitstream.tables import Tables
from narrows.checkpoints import folder
from narrows.codecs.codec import Codec
from narrows.errors import InputError
from narrows.media import audio as media
from narrows.recipes.data import Recordings
from narrows.recipes.recipe import Recipe
from narrows.recipes.start import start_linear
from narrows.recipes.training import Training
from narrows.tokenizers.audio import AudioTokenizer

TABLE_SECONDS = 4 * 3600  # of training data that the frequency tables are fitted on
REPORT_EVERY = 50  # steps


def run(recipe: Recipe, out: str | Path, init: str | None = None, smoke: bool = False) -> Path:
    """Train until the recipe's last step and return the folder of the checkpoint.

    An interrupted run in `out` goes on where it was last saved. init: name or folder of a checkpoint of the same
    architecture whose weights are the start of a new run. smoke: pass through every part of a run in seconds, in the
    folder `smoke` below `out`, which is made anew.
    Raises InputError for weights of another architecture, for folders without recordings, and for an `out` that holds
    the run of another recipe, or any run while `init` is given.
    """
    out = Path(out) / "smoke" if smoke else Path(out)
    if smoke:
        shutil.rmtree(out, ignore_errors=True)
        recipe = _smoke(recipe, out / "data")
    out.mkdir(parents=True, exist_ok=True)
    resumed = out / "last.ckpt"
    if resumed.exists() and init is not None:
        raise InputError(f"{out} holds a run already, which goes on from its own weights; choose another --out")
    lightning.seed_everything(recipe.seed, verbose=False)
    recordings = Recordings(recipe.data.train, recipe.sample_rate)
    if not resumed.exists():
        _start(recipe, init, recordings)
    training = Training(recipe, recordings)
    if resumed.exists():
        _resume(training, resumed)
    if int(training.step) < recipe.schedule.steps:
        _fit(training, out, resumed if resumed.exists() else None)
    return deliver(training.average, recipe, out, recordings)


def deliver(codec: Codec, recipe: Recipe, out: Path, recordings: Recordings) -> Path:
    """Fit the frequency tables on training data and write the checkpoint folder."""
    target = out / "checkpoint"
    folder.save(target, codec, recipe.name, recipe.sample_rate)
    checkpoint = folder.read(target)  # the tables belong to the weights as they are stored, in half precision
    tokenizer = AudioTokenizer(checkpoint.codec, recipe.sample_rate)
    folder.save(target, checkpoint.codec, recipe.name, recipe.sample_rate, fit_tables(tokenizer, recordings))
    return target


def fit_tables(tokenizer: AudioTokenizer, recordings: Recordings, seconds: float = TABLE_SECONDS) -> Tables:
    """Frequency tables for the symbols that a tokenizer makes of recordings at its rate, drawn from all over them."""
    codes, total = [], 0.0
    for index in recordings.shuffled():
        codes.append(tokenizer.encode(recordings[index], tokenizer.sample_rate).codes)
        total += recordings.seconds[index]
        if total > seconds:
            break
    return tokenizer.tables_for(torch.cat(codes, 2))


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


def _fit(training: Training, out: Path, resumed: Path | None) -> None:
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


def _resume(training: Training, path: Path) -> None:
    """Load the weights and the step of a saved run; Lightning will load the rest, where there is more to do."""
    advice = "go on with the recipe and settings that it was begun with, or choose another --out"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
        training.load_state_dict(state)
    except (OSError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the run in {path.parent} cannot go on ({reason}); {advice}") from error


def _start(recipe: Recipe, init: str | None, recordings: Recordings) -> None:
    """Weights of a run that begins: those of a checkpoint, or a linear codec of the data, or random."""
    from narrows.checkpoints.load import load

    codec = recipe.codec
    if init is None:
        if recipe.linear_start:
            start_linear(codec, recordings)
        return
    weights = load(init).codec.state_dict()
    wanted = {name: value.shape for name, value in codec.state_dict().items()}
    given = {name: value.shape for name, value in weights.items()}
    if wanted != given:
        raise InputError(f"the weights of {init} are those of another architecture than the recipe's")
    codec.load_state_dict(weights)


def _smoke(recipe: Recipe, data: Path) -> Recipe:
    """The recipe cut down, on a few seconds of made-up vowels that are written to `data`."""
    data.mkdir(parents=True)
    rate = recipe.sample_rate
    time = np.arange(2 * rate) / rate
    for index, pitch in enumerate((110, 180)):
        glide = pitch * (time + 0.1 * np.sin(2 * np.pi * time))
        harmonics = np.arange(1, 20)[:, None]
        vowel = (np.sin(2 * np.pi * harmonics * glide) / harmonics).sum(0, keepdims=True)
        loudness = 0.1 * (1 + np.sin(2 * np.pi * 3 * time))
        media.write(data / f"vowel-{index}.wav", (loudness * vowel).astype(np.float32), rate)
    recipe = recipe.smoke()
    return replace(recipe, data=replace(recipe.data, train=data, valid=data))
