"""`codec models`: what can be loaded by name."""

import json
from dataclasses import asdict
from typing import Annotated

import typer


def models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the models that ship with the package."""
    from narrows.checkpoints.index import entries

    listed = entries()
    if as_json:
        print(json.dumps([asdict(entry) for entry in listed], indent=1), flush=True)
        return
    for entry in listed:
        print(f"{entry.name:12} {entry.medium:6} {entry.summary}  [{entry.licence}]", flush=True)
