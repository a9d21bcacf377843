"""`codec detokenize`: one item of token shards as a sound file or a picture."""

import re
from pathlib import Path
from typing import Annotated

import typer


def detokenize(
    shards: Annotated[Path, typer.Argument(help="Folder of token shards, as codec tokenize makes it.")],
    key: Annotated[str, typer.Option(help="Of the item.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="File of the result. [end of the key, as .wav or .png]")
    ] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="Model to decode with. [the one that the shards name]")
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1.")] = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the result if it is there.")] = False,
) -> None:
    """Decode one item of a tokenized data set: what a model trained on it can at best give back."""
    from narrows.checkpoints.load import load as load_model
    from narrows.cli.files import shipped
    from narrows.datasets.media import write_media
    from narrows.datasets.reader import load

    data = load(shards, allow_missing=True)
    item = data.by_key(key)
    suffix = ".wav" if data.made.medium == "audio" else ".png"
    target = out or Path(re.sub(r"[^\w.-]", "_", key.rstrip("/").rpartition("/")[2]) + suffix)
    write_media(target, item, load_model(model or shipped(data.made.model), device), overwrite=force)
    print(f"{key!r} → {target}", flush=True)
