"""From a name to a tokenizer: a model shipped with the package, a folder, or a repository on the Hugging Face hub."""

import difflib
import os
from pathlib import Path

import torch

from narrows.checkpoints import folder as folders
from narrows.checkpoints.index import HERE, entries
from narrows.errors import InputError, ModelError
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.image import ImageTokenizer


def load(model: str | Path, device: str | torch.device = "cpu") -> AudioTokenizer | ImageTokenizer:
    """A tokenizer by name ("speech"), folder ("runs/mine") or hub repository ("owner/name", "owner/name@revision").

    Raises ModelError for an unknown name (with the nearest known one), a folder that is no checkpoint, and weights that
    are not those of the index; InputError for a device that cannot be used here.
    """
    _check_device(device)
    known = {entry.name: entry for entry in entries()}
    if model in known:
        checkpoint = folders.read(HERE / str(model))
        if checkpoint.fingerprint != known[str(model)].fingerprint:
            wanted = known[str(model)].fingerprint
            raise ModelError(f"the weights of {model} are {checkpoint.fingerprint}, {wanted} wanted; reinstall narrows")
    elif os.path.isdir(model):
        checkpoint = folders.read(model)
    elif isinstance(model, str) and model.count("/") == 1 and not model.startswith((".", "/", "~")):
        checkpoint = folders.read(_from_hub(model))
    else:
        close = difflib.get_close_matches(str(model), known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ModelError(f"no model or folder {str(model)!r}; {hint}`codec models` lists the models")
    c = checkpoint
    try:
        if c.medium == "audio":
            return AudioTokenizer(c.codec, c.sample_rate, c.name, c.fingerprint, tables=c.tables).to(device)
        if c.medium == "image":
            return ImageTokenizer(c.codec, c.name, c.fingerprint, c.tables, lambdas=c.lambdas).to(device)
    except InputError as error:
        raise ModelError(f"{model} does not fit its medium: {error}; use the config.json that it came with") from error
    raise ModelError(f"{model} is a model for {c.medium}; this version codes audio and images")


def _check_device(device: str | torch.device) -> None:
    try:
        torch.zeros(1, device=torch.device(device)).cpu()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(
            f"device {str(device)!r} cannot be used here ({reason}); give cpu, or cuda where there is such a GPU"
        ) from error


def _from_hub(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: httpx or requests, whichever the hub uses
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
    )

    repository, _, revision = model.partition("@")
    wanted = ["config.json", "*.safetensors", "README.md", "evaluation.json"]
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=wanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, HTTPError, OSError) as error:
        reason = (str(error).strip() or "it does not answer").splitlines()[0].rstrip(".")
        raise ModelError(
            f"no folder {model!r}, and the hub repository of that name cannot be fetched ({reason}); check the name"
        ) from error
