"""A public checkpoint of another library, written as a checkpoint folder of this one."""

import hashlib
import os
from pathlib import Path
from typing import Any

from narrows.checkpoints import folder as folders
from narrows.checkpoints.facts import facts_of
from narrows.checkpoints.families.releases import find_release
from narrows.checkpoints.load import load
from narrows.media.atomic import write_bytes
from narrows.media.files import quoted
from narrows.tokenizers.tokenizer import Tokenizer

CARD = """---
library_name: narrows
license: {licence}
tags: [{medium}, neural-codec]
---

# {name}

{summary}

The weights are those of {source}, with the same codes and the same output. They are under the licence
{licence}{warning}.

```python
import narrows

tokenizer = narrows.load({folder!r})
```

| | |
|---|---|
{rows}
"""


def convert(source: str | Path, out: str | Path, *, revision: str | None = None) -> Tokenizer:
    """Load a model, and write it as a checkpoint folder with a card that names its source.

    Args:
        source: what `narrows.load` takes.
        out: the folder; a checkpoint in it is replaced.
        revision: of a repository on the hub.

    Returns:
        The loaded model.

    Raises:
        ModelError, InputError: as `narrows.load` does.
        MediaError: if the folder cannot be written.
    """
    tokenizer = load(source, revision=revision)
    save_converted(tokenizer, source, out, revision)
    return tokenizer


def save_converted(tokenizer: Tokenizer, source: str | Path, out: str | Path, revision: str | None = None) -> None:
    """Write a loaded model as a checkpoint folder; see `convert`. The card and the results of one of here are kept."""
    kept = {}
    if tokenizer.weights_file is None and tokenizer.folder is not None:
        places = {name: tokenizer.folder / name for name in ("README.md", "evaluation.json")}
        kept = {name: place.read_bytes() for name, place in places.items() if place.is_file()}
    folders.save(out, tokenizer)
    files = {"README.md": _card(tokenizer, source, Path(out), revision).encode()} | kept
    for name, data in files.items():
        write_bytes(Path(out) / name, data, overwrite=True)


def _card(tokenizer: Tokenizer, source: str | Path, out: Path, revision: str | None) -> str:
    release, facts = find_release(tokenizer.name), facts_of(tokenizer)
    place = str(source) if release is None or os.path.exists(source) else release.repository
    place += f", revision {revision}" if revision else ""
    rows = {"model": tokenizer.name, "fingerprint": tokenizer.fingerprint, **facts}
    if (weights := tokenizer.weights_file) is not None:
        with open(weights, "rb") as file:
            rows[f"SHA-256 of {weights.name}"] = hashlib.file_digest(file, "sha256").hexdigest()
    if release is not None and release.published:
        rows |= {f"{key} (published by the authors)": value for key, value in release.published.items()}
    return CARD.format(
        name=tokenizer.name,
        summary=release.summary if release is not None else f"A tokenizer of {tokenizer.medium.name}.",
        licence=release.licence if release is not None else "of its source",
        warning="" if release is None or release.commercial else ": not for commercial use",
        source=quoted(place),
        medium=tokenizer.medium.name,
        folder=str(out),
        rows="\n".join(f"| {_cell(key)} | {_cell(value)} |" for key, value in rows.items()),
    )


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
