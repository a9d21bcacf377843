"""Running a recipe: loop, devices, precision, saving and resuming are Lightning's; the checkpoint at the end is ours.

out/last.ckpt       state of the run, with optimisers; the same command goes on from here
out/metrics.csv     losses and validation scores over the steps
out/checkpoint/     the averaged codec, as `narrows.load` reads it
"""

import json
import logging
import shutil
import warnings
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger

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


def run(recipe: Recipe, out: str | Path, init: str | None = None, smoke: bool = False) -> Path:
    """Train until the recipe's last step and return the folder of the checkpoint.

    An interrupted run in `out` goes on where it was last saved. init: name or folder of a checkpoint of the same
    architecture whose weights are the start of a new run. smoke: pass through every part of the run in seconds.
    Raises InputError for weights of another architecture and for folders without recordings.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    lightning.seed_everything(recipe.seed, verbose=False)
    if smoke:
        recipe = _smoke(recipe, out)
    resumed = out / "last.ckpt"
    if not resumed.exists():
        _start(recipe, init)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    training = Training(recipe)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # advice on workers and loggers, not on this run
        trainer = _trainer(recipe, out)
        trainer.fit(training, ckpt_path=str(resumed) if resumed.exists() else None, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    return deliver(training.average, recipe, out)


def deliver(codec: Codec, recipe: Recipe, out: Path) -> Path:
    """Fit the frequency tables on training data and write the checkpoint folder."""
    target = out / "checkpoint"
    folder.save(target, codec, recipe.name, recipe.sample_rate)
    checkpoint = folder.read(target)  # the tables belong to the weights as they are stored, in half precision
    tokenizer = AudioTokenizer(checkpoint.codec, recipe.sample_rate)
    folder.save(target, checkpoint.codec, recipe.name, recipe.sample_rate, fit_tables(tokenizer, recipe.data.train))
    return target


def fit_tables(tokenizer: AudioTokenizer, data: str | Path, seconds: float = TABLE_SECONDS) -> Tables:
    """Frequency tables for the symbols that a tokenizer makes of the recordings below a folder."""
    recordings = Recordings(data, tokenizer.sample_rate)
    codes, total = [], 0.0
    for index in range(len(recordings)):
        codes.append(tokenizer.encode(recordings[index], tokenizer.sample_rate).codes)
        total += recordings.seconds[index]
        if total > seconds:
            break
    return tokenizer.tables_for(torch.cat(codes, 2))


class _Report(Callback):
    """Each validation's scores as a line of JSON on standard output, for logs that are read later."""

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.sanity_checking:
            scores = {name: round(float(value), 4) for name, value in trainer.callback_metrics.items()}
            print(json.dumps({"step": int(pl_module.step), **scores}), flush=True)  # type: ignore[arg-type]


def _trainer(recipe: Recipe, out: Path) -> lightning.Trainer:
    saver = ModelCheckpoint(
        out, filename="last", save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=True
    )
    logger = CSVLogger(str(out), name="", version="")
    callbacks: list[Callback] = [saver, _Report(), RichProgressBar()]
    settings: dict[str, Any] = {"precision": "bf16-mixed"} if torch.cuda.is_available() else {}
    return lightning.Trainer(
        max_epochs=ceil(recipe.schedule.steps / recipe.schedule.validate_every),
        default_root_dir=out,
        logger=logger,
        callbacks=callbacks,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        log_every_n_steps=min(50, recipe.schedule.validate_every),
        enable_model_summary=False,
        **settings,
    )


def _start(recipe: Recipe, init: str | None) -> None:
    """Weights of a run that begins: those of a checkpoint, or a linear codec of the data, or random."""
    from narrows.checkpoints.load import load

    codec = recipe.codec
    if init is None:
        if recipe.linear_start:
            start_linear(codec, Recordings(recipe.data.train, recipe.sample_rate))
        return
    weights = load(init).codec.state_dict()
    wanted = {name: value.shape for name, value in codec.state_dict().items()}
    given = {name: value.shape for name, value in weights.items()}
    if wanted != given:
        raise InputError(f"the weights of {init} are those of another architecture than the recipe's")
    codec.load_state_dict(weights)


def _smoke(recipe: Recipe, out: Path) -> Recipe:
    """The recipe cut down, on a few seconds of made-up vowels."""
    data = out / "smoke-data"
    shutil.rmtree(data, ignore_errors=True)
    (out / "last.ckpt").unlink(missing_ok=True)
    data.mkdir()
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
