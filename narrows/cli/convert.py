"""`codec convert`: a public checkpoint of another library as a checkpoint folder of this one."""

from pathlib import Path
from typing import Annotated

import typer


def convert(
    source: Annotated[
        str, typer.Argument(metavar="MODEL", help="Model name, file of weights, folder or hub repository.")
    ],
    out: Annotated[Path, typer.Argument(help="Checkpoint folder that is written.")],
    revision: Annotated[str | None, typer.Option(help="Commit, branch or tag of the hub repository.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a checkpoint in OUT.")] = False,
) -> None:
    """Write a model as a checkpoint folder: config.json, model.safetensors and a card with source, hash and licence."""
    from narrows.checkpoints.convert import convert as converted
    from narrows.cli.files import print_line
    from narrows.errors import OutputExists

    if (out / "config.json").exists() and not force:
        raise OutputExists(f"expected no checkpoint in {out}, got one; give --force to replace it")
    tokenizer = converted(source, out, revision=revision)
    print_line(f"{tokenizer.name}: {out}")
