"""`codec models`: the models that can be loaded by name."""

import json
from dataclasses import asdict

from narrows.cli.options import Json


def models(as_json: Json = False) -> None:
    """List the models that ship with the package."""
    from narrows.checkpoints.index import models as shipped

    listed = shipped()
    if as_json:
        print(json.dumps([asdict(model) for model in listed], indent=1), flush=True)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "medium", "summary", "licence", box=None, pad_edge=False)
    for model in listed:
        table.add_row(model.name, model.medium, model.summary, model.licence)
    Console(width=None if Console().is_terminal else 500).print(table)
