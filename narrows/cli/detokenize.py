"""`codec detokenize`: one item of token shards as an audio file, an image or a video."""

import re
from pathlib import Path
from typing import Annotated

import typer

from narrows.cli.options import Device, Force


def detokenize(
    shards: Annotated[Path, typer.Argument(help="Folder of token shards, as codec tokenize makes it.")],
    key: Annotated[str, typer.Option(help="Key of the item.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Output file. [last part of the key, as .wav, .png or .mp4]")
    ] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="Model to decode with. [the one that the shards name]")
    ] = None,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Decode one item of a tokenized data set: the quality that a generative model trained on it can reach at best."""
    from narrows.checkpoints.load import load as load_model
    from narrows.cli.files import print_line, shipped_model
    from narrows.datasets.reader import load
    from narrows.media.table import medium_named

    data = load(shards, allow_missing=True)
    item = data.by_key(key)
    suffix = medium_named(data.info.medium).default_suffix
    target = out or Path(re.sub(r"[^\w.-]", "_", key.rstrip("/").rpartition("/")[2]) + suffix)
    load_model(shipped_model(data.info.model) if model is None else model, device).decode_file(
        item, target, overwrite=force
    )
    print_line(f"{key!r} → {target}")
