"""`codec fit-tables`: frequency tables for the entropy coding of a model, fitted on media."""

from pathlib import Path
from typing import Annotated

import typer


def fit_tables(
    model: Annotated[str, typer.Argument(help="Model: a folder, a file of weights, a name or a hub repository.")],
    data: Annotated[
        list[Path],
        typer.Option(help="Folder of media, or another source that `codec tokenize` reads; repeat for more."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Checkpoint folder that gets the model and its tables. [MODEL, if a folder]"),
    ] = None,
    networks: Annotated[
        int,
        typer.Option(min=0, metavar="STEPS", help="Audio: steps to train networks that predict frequencies. [none]"),
    ] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace tables, and a checkpoint in OUT, that there are.")
    ] = False,
) -> None:
    """Make files of a model smaller: count how often it uses each code on media, for its entropy coding.

    Streams that were made with other tables, or without, can no longer be read by the model with these.
    """
    from narrows.checkpoints.convert import save_converted
    from narrows.checkpoints.families.source import TABLES
    from narrows.checkpoints.folder import save_tables
    from narrows.checkpoints.load import load
    from narrows.cli.files import print_line
    from narrows.errors import InputError, OutputExists
    from narrows.recipes.settings import Prediction
    from narrows.recipes.training.fit_model import fit_tables as fitted

    path = Path(model)
    if out is not None and path.is_dir() and out.is_dir() and out.samefile(path):
        out = None  # the model is there
    folder = out or (path if path.is_dir() else path.parent if path.is_file() else None)
    if folder is None:
        raise InputError(f"expected --out FOLDER for {model}, which is no folder, got none; give one")
    if (folder / TABLES).exists() and not force:
        raise OutputExists(f"expected no tables in {folder}, got {TABLES}; give --force to replace them")
    if out is not None and (out / "config.json").exists() and not force:
        raise OutputExists(f"expected no checkpoint in {out}, got one; give --force to replace it")
    tokenizer = load(model)
    before = tokenizer.rate()
    tokenizer.tables = fitted(tokenizer, tuple(data), Prediction(steps=networks) if networks else None)
    if out is None:
        save_tables(folder, tokenizer)
    else:
        save_converted(tokenizer, model, out)
    unit = tokenizer.medium.rate_unit
    print_line(f"{tokenizer.name}: {before:.4g} -> {tokenizer.rate():.4g} {unit}, tables in {folder}")
