"""From a trained checkpoint folder to a model that ships with the package."""

import json
import shutil
from pathlib import Path
from typing import Any

from narrows.checkpoints import folder as folders
from narrows.checkpoints.index import HERE
from narrows.errors import ModelError
from narrows.media.atomic import write_bytes

SHIPPED = ("config.json", "model.safetensors", "tables.safetensors", "README.md", "evaluation.json")


def publish(
    source: str | Path, summary: str, licence: str, numbers: dict[str, Any], home: str | Path = HERE
) -> folders.Checkpoint:
    """Copy a checkpoint to `home`, below its own name, and list it in the index with its fingerprint.

    summary: one line. numbers: what `codec models --json` tells beside it. A checkpoint that is there is replaced.
    Raises ModelError for a folder that cannot be loaded, or that lacks its tables or its card.
    """
    source, home = Path(source), Path(home)
    checkpoint = folders.read(source)
    for name in SHIPPED:
        if not (source / name).exists():
            raise ModelError(f"{source} has no {name}; a model that ships has {', '.join(SHIPPED)}")
    target = home / checkpoint.name
    target.mkdir(parents=True, exist_ok=True)
    for name in SHIPPED:
        shutil.copyfile(source / name, target / name)
    path = home / "index.json"
    index = json.loads(path.read_text()) if path.exists() else {}
    index[checkpoint.name] = {
        "medium": checkpoint.medium,
        "summary": summary,
        "licence": licence,
        "fingerprint": checkpoint.fingerprint,
        "numbers": numbers,
    }
    write_bytes(path, (json.dumps(index, indent=1, sort_keys=True) + "\n").encode(), overwrite=True)
    return checkpoint
