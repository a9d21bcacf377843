"""`codec export-tokens`: token shards in the formats of other libraries."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def export_tokens(
    shards: Annotated[Path, typer.Argument(help="Folder of token shards, as codec tokenize makes it.")],
    to: Annotated[Literal["hf", "npy", "webdataset", "lhotse", "megatron"], typer.Option(help="Format.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Output folder.")],
    pattern: Annotated[
        Literal["interleaved", "raster", "parallel", "delayed"] | None,
        typer.Option(help="Order of ids, for megatron. [interleaved]"),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Export the shards that exist if some are missing.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing outputs.")] = False,
) -> None:
    """Write tokenized items for other libraries: Parquet with a card, arrays, tars, cuts, or ids for Megatron-LM."""
    from narrows.cli.files import print_line
    from narrows.datasets.exporters import export
    from narrows.datasets.reader import load

    data = load(shards, allow_missing=allow_missing)
    export(data, to, out, pattern=pattern, overwrite=force)
    print_line(f"{shards} → {out}  {len(data)} items")
