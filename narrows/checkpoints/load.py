"""Loading of tokenizers: models shipped with the package, folders, and repositories on the Hugging Face Hub."""

import difflib
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, overload

import torch

from narrows.checkpoints import folder as folders
from narrows.checkpoints.default import FULL_BAND, default_audio_model
from narrows.checkpoints.families.read import read_public
from narrows.checkpoints.families.releases import find_release, releases
from narrows.checkpoints.families.source import is_public
from narrows.checkpoints.hub import from_hub
from narrows.checkpoints.index import MODELS_FOLDER, models
from narrows.errors import InputError, LicenceWarning, MediaError, ModelError, shortened
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
def load(model: str | Path, device: str | torch.device = "cpu", *, revision: str | None = None) -> Tokenizer: ...
def load(model: str | Path, device: str | torch.device = "cpu", *, revision: str | None = None) -> Tokenizer:
    """Load a tokenizer, of this library or a public one of another.

    A model of the hub is fetched once, and then read from the cache of huggingface_hub; with HF_HUB_OFFLINE=1 nothing
    is fetched.

    Args:
        model: a name that `codec models --all` lists ("speech", "dac-44khz"), a folder ("runs/mine"), a file of weights
            ("weights.pth"; its config.json is read beside it), or a repository on the Hugging Face Hub ("owner/name",
            "owner/name@revision").
        device: "cpu", "cuda", "cuda:1", "mps", or "auto": CUDA if available, otherwise MPS if the model runs on
            it, otherwise the CPU.
        revision: commit, branch or tag of a repository on the hub; by default what the list says, or the newest.

    Raises:
        ModelError: for an unknown name (the message has the nearest known name), a folder or file that is no checkpoint
            of a known kind, a model of the hub that cannot be fetched, and a file that differs from the index.
        InputError: for a device that is not available or lacks operations of the model, and for a revision of a model
            that is not on the hub.

    Issues a LicenceWarning if the published weights may not be used commercially.
    """
    if not isinstance(model, str | Path):
        raise ModelError(
            f"expected a model name, folder or hub repository, got {shortened(model)}; `codec models --all` lists them"
        )
    if device != "auto":
        check_device(device)
    tokenizer = _read(model, (), revision)
    if (release := find_release(tokenizer.name)) is not None and not release.commercial:
        warnings.warn(
            f"the published weights of {release.name} are under {release.licence}: not for commercial use",
            LicenceWarning,
            stacklevel=2,
        )
    if isinstance(tokenizer, VideoTokenizer):
        tokenizer.audio_models = ShippedAudioModels(device)
    return tokenizer.to(_best_device(tokenizer) if device == "auto" else device)


def _read(model: str | Path, around: tuple[str, ...], revision: str | None = None) -> Tokenizer:
    """A tokenizer on the CPU; `around` are the models of which it is the base, outermost first."""
    if len(around) > MAX_BASES:
        raise ModelError(
            f"expected at most {MAX_BASES} bases below each other, got more from {shortened(around[0])} on"
        )

    def open_base(base: str) -> Tokenizer:
        return _read(base, (*around, str(model)))

    known = {entry.name: entry for entry in models()}
    is_path = model not in known and os.path.exists(model)
    if revision is not None and (model in known or is_path):
        raise InputError(f"expected a revision of a repository on the hub, got one of {shortened(str(model))}")
    if model in known:
        tokenizer = folders.read(MODELS_FOLDER / str(model), open_base)
        expected = known[str(model)].fingerprint
        if tokenizer.fingerprint != expected:
            raise ModelError(f"expected weights {expected} of {model}, got {tokenizer.fingerprint}; reinstall narrows")
    elif is_path:
        tokenizer = _from_path(Path(model), open_base)
    elif find_release(str(model)) is not None or (isinstance(model, str) and _is_repository(model)):
        tokenizer = _from_path(from_hub(str(model), revision), open_base)
    else:
        names = [*known, *(release.name for release in releases())]
        close = difflib.get_close_matches(str(model)[:MAX_REASON], names, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ModelError(
            f"expected a model name, folder or hub repository, got {shortened(str(model))}; {hint}`codec models --all` "
            "lists the names"
        )
    tokenizer.origin = os.path.abspath(model) if is_path else str(model)
    return tokenizer


def _is_repository(model: str) -> bool:
    return model.count("/") == 1 and not model.startswith((".", "/", "~"))


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
