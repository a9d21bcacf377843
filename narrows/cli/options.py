"""Options that several verbs share."""

from typing import Annotated

import typer

Device = Annotated[
    str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps; auto takes a GPU that the model runs on.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing outputs.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
