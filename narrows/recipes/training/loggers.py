"""Loggers that show a run while it trains: TensorBoard and Weights & Biases. metrics.jsonl is written in any case."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from narrows.errors import InputError
from narrows.report.embedding import MediaSample

LOGGERS = ("none", "tensorboard", "wandb")


class Logger(ABC):
    """Takes the values of metrics.jsonl, and samples."""

    @abstractmethod
    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log scalars of a step."""

    def log_samples(self, samples: Sequence[MediaSample], step: int) -> None:
        """Log validation items, original and decoded, as samples/ITEM/NAME."""
        by_medium = {"audio": self.log_audio, "image": self.log_image}
        for sample in samples:
            for name, signal in (("original", sample.reference), *sample.decoded.items()):
                if signal.medium in by_medium:
                    by_medium[signal.medium](f"samples/{sample.item}/{name}", signal, step)

    @abstractmethod
    def log_audio(self, name: str, signal: Any, step: int) -> None:
        """Log an Audio."""

    @abstractmethod
    def log_image(self, name: str, signal: Any, step: int) -> None:
        """Log an Image."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left."""


class TensorBoard(Logger):
    """Writes events for `tensorboard --logdir` to out/tensorboard."""

    def __init__(self, out: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def log_audio(self, name: str, signal: Any, step: int) -> None:
        self._writer.add_audio(name, signal.samples.mean(0, keepdims=True), step, signal.sample_rate)

    def log_image(self, name: str, signal: Any, step: int) -> None:
        self._writer.add_image(name, signal.pixels, step)

    def close(self) -> None:
        self._writer.close()


class WandB(Logger):
    """Logs to Weights & Biases, or with WANDB_MODE=offline to out/wandb. A resumed run goes on in the same plot."""

    def __init__(self, out: Path, record: Mapping[str, Any]) -> None:
        import wandb

        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "narrows"),
                name=record["recipe"]["name"],
                id=record["id"],
                resume="allow",
                dir=str(out),
                config=dict(record["recipe"]),
                settings=wandb.Settings(console="off"),
            )
        except wandb.Error as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(
                f"expected wandb to start, got: {reason}; run `wandb login`, or set WANDB_MODE=offline"
            ) from error

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def log_audio(self, name: str, signal: Any, step: int) -> None:
        import wandb

        self._run.log({name: wandb.Audio(signal.samples.T, signal.sample_rate)}, step=step)

    def log_image(self, name: str, signal: Any, step: int) -> None:
        import wandb

        self._run.log({name: wandb.Image(signal.pixels.transpose(1, 2, 0))}, step=step)

    def close(self) -> None:
        self._run.finish()


def check_logger(name: str) -> None:
    """Check that a logger is known and its package installed.

    Raises:
        InputError: For another name, or a missing package.
    """
    if name not in LOGGERS:
        raise InputError(f"expected a logger of {', '.join(LOGGERS)}, got {name!r}")
    if name != "none" and find_spec(name) is None:
        raise InputError(f"expected the package {name}, got none; pip install {name}")


def make_logger(name: str, out: Path, record: Mapping[str, Any], step: int) -> Logger | None:
    """The logger of a run; None for "none".

    Args:
        name: One of LOGGERS.
        out: Folder of the run.
        record: The content of its recipe.json.
        step: Number of steps done; what was logged after it is replaced.
    """
    match name:
        case "tensorboard":
            return TensorBoard(out, step)
        case "wandb":
            return WandB(out, record)
        case _:
            return None
