"""Publishing of a trained checkpoint as a model that ships with the package."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from narrows.checkpoints import folder as folders
from narrows.checkpoints.index import MODELS_FOLDER
from narrows.checkpoints.load import load
from narrows.errors import ModelError
from narrows.media.atomic import write_bytes
from narrows.tokenizers.tokenizer import Tokenizer

SHIPPED_FILES = ("config.json", "model.safetensors", "tables.safetensors", "README.md", "evaluation.json")


def publish(
    source: str | Path,
    name: str,
    summary: str,
    licence: str,
    numbers: dict[str, Any],
    home: str | Path = MODELS_FOLDER,
) -> Tokenizer:
    """Copy a checkpoint to the folder `home`/name and add it to the index with its fingerprint.

    Args:
        source: folder of the checkpoint.
        name: name of the published model.
        summary: one-line description for `codec models`.
        licence: licence of the weights.
        numbers: results of the evaluation for `codec models --json`.
        home: folder of the index; a checkpoint of the same name in it is replaced.

    Raises:
        InputError: for a name that a model cannot have.
        ModelError: for a folder that cannot be loaded, or that lacks a file such as the tables or the model card.
    """
    source, home = Path(source), Path(home)
    tokenizer = load(source)
    if tokenizer.base is not None and os.path.isabs(tokenizer.base.model):
        raise ModelError(f"expected a base that ships or is on the hub, got {tokenizer.base.model}; publish it first")
    folders.check_name(name)
    for file in SHIPPED_FILES:
        if not (source / file).exists():
            raise ModelError(f"expected {', '.join(SHIPPED_FILES)} in {source}, got no {file}; add it")
    target = home / name
    target.mkdir(parents=True, exist_ok=True)
    for file in SHIPPED_FILES:
        shutil.copyfile(source / file, target / file)
    config = json.loads((source / "config.json").read_text()) | {"name": name}
    write_bytes(target / "config.json", (json.dumps(config, indent=1) + "\n").encode(), overwrite=True)
    tokenizer.name = name
    path = home / "index.json"
    index = json.loads(path.read_text()) if path.exists() else {}
    index[name] = {
        "medium": tokenizer.medium.name,
        "summary": summary,
        "licence": licence,
        "fingerprint": tokenizer.fingerprint,
        "numbers": numbers,
    }
    write_bytes(path, (json.dumps(index, indent=1, sort_keys=True) + "\n").encode(), overwrite=True)
    return tokenizer
