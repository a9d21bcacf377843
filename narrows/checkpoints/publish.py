"""Publishing: from a trained checkpoint folder to a model that ships with the package."""

import json
import shutil
from pathlib import Path
from typing import Any

from narrows.checkpoints import folder as folders
from narrows.checkpoints.index import HERE
from narrows.errors import ModelError
from narrows.media.atomic import write_bytes
from narrows.tokenizers.tokenizer import Tokenizer

SHIPPED = ("config.json", "model.safetensors", "tables.safetensors", "README.md", "evaluation.json")


def publish(
    source: str | Path, summary: str, licence: str, numbers: dict[str, Any], home: str | Path = HERE
) -> Tokenizer:
    """Copy a checkpoint to `home`, below its own name, and list it in the index with its fingerprint.

    Args:
        source: folder of the checkpoint.
        summary: one line for `codec models`.
        licence: of the weights.
        numbers: results, reported by `codec models --json`.
        home: folder of the index; a checkpoint of the same name in it is replaced.

    Raises:
        ModelError: for a folder that cannot be loaded, or that lacks its tables or its card.
    """
    source, home = Path(source), Path(home)
    tokenizer = folders.read(source)
    for name in SHIPPED:
        if not (source / name).exists():
            raise ModelError(f"expected {', '.join(SHIPPED)} in {source}, got no {name}; add it")
    target = home / tokenizer.name
    target.mkdir(parents=True, exist_ok=True)
    for name in SHIPPED:
        shutil.copyfile(source / name, target / name)
    path = home / "index.json"
    index = json.loads(path.read_text()) if path.exists() else {}
    index[tokenizer.name] = {
        "medium": tokenizer.medium.name,
        "summary": summary,
        "licence": licence,
        "fingerprint": tokenizer.fingerprint,
        "numbers": numbers,
    }
    write_bytes(path, (json.dumps(index, indent=1, sort_keys=True) + "\n").encode(), overwrite=True)
    return tokenizer
