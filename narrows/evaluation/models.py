"""Operating points of narrows models: real `.nrw` files."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError
from narrows.evaluation.base import Json, OperatingPoint
from narrows.media.medium import Signal

if TYPE_CHECKING:
    from narrows.tokenizers.tokenizer import Tokenizer


def load_once(model: str) -> "Tokenizer":
    """`narrows.load`, once per process; a folder or file again when it has changed, or is another one."""
    path = Path(model)
    files = [path] if path.is_file() else [file for file in path.glob("*") if file.is_file()] if path.is_dir() else []
    stats = [(str(file), file.stat()) for file in sorted(files)]
    return _load(model, os.path.abspath(model), tuple((name, at.st_size, at.st_mtime_ns) for name, at in stats))


@cache
def _load(model: str, path: str, files: tuple[tuple[str, int, int], ...]) -> "Tokenizer":
    from narrows.checkpoints.load import load

    return load(model)


def model_points(model: str, settings: Sequence[float] | Literal["all"] = ()) -> list[OperatingPoint]:
    """Operating points of one model.

    Args:
        model: Name, folder or hub repository.
        settings: Qualities of a model with several qualities, else numbers of codebooks; "all" for all settings (for
            qualities, the integers 1 to 8); () for the default setting.

    Returns:
        One operating point per setting.

    Raises:
        ModelError: The model cannot be loaded.
        InputError: The model does not offer a setting.
    """
    tokenizer = load_once(model)
    choice = tokenizer.rate_setting
    if len(choice.values) == 1:
        if settings not in ("all", ()):
            raise InputError(f"expected {model} without a setting, because it has only one, got settings; type {model}")
        return [ModelPoint(model)]
    check = tokenizer.quality_index if choice.name == "quality" else tokenizer.check_codebooks
    for setting in () if settings == "all" else settings:
        check(setting)
    chosen = choice.values if settings == "all" else settings or (choice.default,)
    return [ModelPoint(model, float(setting)) for setting in chosen]


@dataclass(frozen=True)
class ModelPoint(OperatingPoint):
    """A model at a setting.

    Args:
        family: Name, folder or hub repository of the model, which is loaded on first use.
        setting: Quality if the model has several, else number of codebooks; None for the default.
    """

    family: str
    setting: float | None = None

    @property
    def medium(self) -> str:  # type: ignore[override]
        """The medium of the model."""
        return self.tokenizer.medium.name

    @property
    def tokenizer(self) -> "Tokenizer":
        """The model."""
        return load_once(self.family)

    @property
    def key(self) -> Mapping[str, Json]:
        """Name, fingerprint and frequency tables of the model, setting, versions."""
        import torch

        tables = self.tokenizer.tables
        return {
            "model": self.tokenizer.name,
            "fingerprint": self.tokenizer.fingerprint,
            "tables": None if tables is None else tables.digest.hex(),
            "setting": self.setting,
            "versions": f"narrows {version('narrows')}, torch {torch.__version__}",
        }

    def check(self) -> None:
        """Models need nothing beyond narrows."""

    def encode(self, signal: Signal, folder: Path) -> Path:
        """Writes an `.nrw` file. Raises InputError for a setting that the model does not offer."""
        tokenizer, path = self.tokenizer, folder / "coded.nrw"
        settings = {} if self.setting is None else {tokenizer.rate_setting.name: self.setting}
        path.write_bytes(tokenizer.compress(tokenizer.encode_signal(signal, **settings)))
        return path

    def decode(self, path: Path) -> Signal:
        """The decoded signal, of the rate and size of the original."""
        return self.tokenizer.decode_signal(path.read_bytes())

    @property
    def parameters(self) -> int:
        """Number of parameters of encoder, bottleneck and decoder."""
        return sum(weights.numel() for weights in self.tokenizer.codec.parameters())

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Sizes of the codebooks in use at this setting; empty for an entropy model, which has none."""
        if self.tokenizer.entropy_model is not None:
            return ()
        sizes = self.tokenizer.codec.bottleneck.codebook_sizes
        return sizes if self.setting is None else sizes[: int(self.setting)]

    def codes(self, path: Path) -> NDArray[np.int64] | None:
        """Codes (K, n) of all channels and positions."""
        if not self.codebook_sizes:
            return None
        codes = self.tokenizer.decompress(path.read_bytes()).codes
        return codes.transpose(0, 1).flatten(1).numpy().astype(np.int64)

    def payload(self, path: Path) -> int:
        """Bytes of the entropy-coded chunks, without their lengths and checksums."""
        from narrows.bitstream import inspect

        return inspect(path.read_bytes()).payload_bytes
