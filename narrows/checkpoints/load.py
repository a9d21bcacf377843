"""Loading of tokenizers: models shipped with the package, folders, and repositories on the Hugging Face Hub."""

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, overload

import torch

from narrows.checkpoints import folder as folders
from narrows.checkpoints.default import FULL_BAND, default_audio_model
from narrows.checkpoints.families.read import read_public
from narrows.checkpoints.families.source import is_public
from narrows.checkpoints.index import MODELS_FOLDER, models
from narrows.errors import MediaError, ModelError, shortened
from narrows.media.files import StoredFile
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.devices import check_device
from narrows.tokenizers.image import ImageTokenizer
from narrows.tokenizers.tokenizer import Tokenizer
from narrows.tokenizers.video import VideoTokenizer

MAX_BASES = 8  # that stand around each other
MAX_REASON = 300  # characters of a message of the hub


@overload
def load(model: Literal["audio", "speech"], device: str | torch.device = "cpu") -> AudioTokenizer: ...
@overload
def load(model: Literal["image", "image-tokens"], device: str | torch.device = "cpu") -> ImageTokenizer: ...
@overload
def load(model: Literal["video"], device: str | torch.device = "cpu") -> VideoTokenizer: ...
@overload
def load(model: str | Path, device: str | torch.device = "cpu") -> Tokenizer: ...
def load(model: str | Path, device: str | torch.device = "cpu") -> Tokenizer:
    """Load a tokenizer.

    Args:
        model: a name ("speech"), a folder ("runs/mine") or a repository on the Hugging Face Hub
            ("owner/name", "owner/name@revision").
        device: "cpu", "cuda", "cuda:1", "mps", or "auto": CUDA if available, otherwise MPS if the model runs on
            it, otherwise the CPU.

    Raises:
        ModelError: for an unknown name (the message has the nearest known name), a folder that is not a checkpoint, and
            a shipped model whose weights differ from the index.
        InputError: for a device that is not available or lacks operations of the model.
    """
    if not isinstance(model, str | Path):
        raise ModelError(
            f"expected a model name, folder or hub repository, got {shortened(model)}; `codec models` "
            "(narrows.models() in Python) lists them"
        )
    if device != "auto":
        check_device(device)
    tokenizer = _read(model, ())
    if isinstance(tokenizer, VideoTokenizer):
        tokenizer.audio_models = ShippedAudioModels(device)
    return tokenizer.to(_best_device(tokenizer) if device == "auto" else device)


def _read(model: str | Path, around: tuple[str, ...]) -> Tokenizer:
    """A tokenizer on the CPU; `around` are the models of which it is the base, outermost first."""
    if len(around) > MAX_BASES:
        raise ModelError(
            f"expected at most {MAX_BASES} bases below each other, got more from {shortened(around[0])} on"
        )

    def open_base(base: str) -> Tokenizer:
        return _read(base, (*around, str(model)))

    known = {entry.name: entry for entry in models()}
    if model in known:
        tokenizer = folders.read(MODELS_FOLDER / str(model), open_base)
        expected = known[str(model)].fingerprint
        if tokenizer.fingerprint != expected:
            raise ModelError(f"expected weights {expected} of {model}, got {tokenizer.fingerprint}; reinstall narrows")
    elif os.path.isdir(model) or os.path.isfile(model):
        tokenizer = _from_path(Path(model), open_base)
    elif isinstance(model, str) and model.count("/") == 1 and not model.startswith((".", "/", "~")):
        tokenizer = folders.read(_from_hub(model), open_base)
    else:
        close = difflib.get_close_matches(str(model)[:MAX_REASON], known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ModelError(
            f"expected a model name, folder or hub repository, got {shortened(str(model))}; {hint}`codec models` "
            "(narrows.models() in Python) lists the names"
        )
    tokenizer.origin = os.path.abspath(model) if model not in known and os.path.isdir(model) else str(model)
    return tokenizer


@dataclass
class ShippedAudioModels:
    """The audio models that ship with the package, for the sound tracks of video; each is loaded when it is needed."""

    device: str | torch.device
    _loaded: dict[str, Tokenizer] = field(default_factory=dict, repr=False)

    def choose(self, source: StoredFile) -> str:
        """The name of the model for the sound in a file; for a damaged one `audio`, and reading it names the damage."""
        try:
            return default_audio_model(source)
        except MediaError:
            return FULL_BAND

    def load(self, name: str) -> Tokenizer | None:
        """The model with a name; None for one that does not ship."""
        if name not in self._loaded and name in {entry.name for entry in models("audio")}:
            self._loaded[name] = load(name, self.device)
        return self._loaded.get(name)


def _from_path(path: Path, open_base: Callable[[str], Tokenizer]) -> Tokenizer:
    """A checkpoint folder of this library, or a file or folder of another's."""
    return read_public(path) if is_public(path) else folders.read(path, open_base)


def _best_device(tokenizer: Tokenizer) -> str:
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available() and tokenizer.runs_on("mps"):
        return "mps"
    return "cpu"


def _from_hub(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError of httpx or requests
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
    )

    repository, _, revision = model.partition("@")
    files = ["config.json", "*.safetensors", "README.md", "evaluation.json"]
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=files))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, HTTPError, OSError) as error:
        reason = (str(error).strip() or "no answer").splitlines()[0].rstrip(".")
        raise ModelError(
            f"no folder {shortened(model)}, and the hub repository of that name cannot be fetched "
            f"({reason[:MAX_REASON]}); check the name"
        ) from error
