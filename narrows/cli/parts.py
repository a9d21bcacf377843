"""`codec parts`: what codecs can be assembled from."""

import inspect
import json
from typing import Annotated

import typer

from narrows.cli.options import Json


def parts(
    kind: Annotated[
        str | None, typer.Argument(help="encoder, bottleneck, decoder, codebook, ...; all kinds unless given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the registered parts with their arguments."""
    from narrows.parts import find, kinds, names

    listed = {each: names(each) for each in ([kind] if kind else kinds())}
    if as_json:
        found = {
            each: {
                name: {"summary": _summary(find(name)), "arguments": str(inspect.signature(find(name)))}
                for name in group
            }
            for each, group in listed.items()
        }
        print(json.dumps(found, indent=1), flush=True)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("kind", "part", "summary", box=None, pad_edge=False)
    for each, group in listed.items():
        for name in group:
            table.add_row(each, name, _summary(find(name)))
    Console(width=None if Console().is_terminal else 500).print(table)


def _summary(part: type) -> str:
    """The first line of the docstring."""
    return (inspect.getdoc(part) or "").partition("\n")[0]
