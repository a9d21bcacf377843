"""`codec parts`: what codecs can be assembled from."""

import inspect
import json
from typing import Annotated

import typer

from narrows.cli.options import Json


def parts(
    what: Annotated[
        str | None,
        typer.Argument(metavar="[KIND|PART]", help="encoder, bottleneck, decoder, ..., or one part; all unless given."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the registered parts, or show one with its arguments."""
    from narrows.parts import find, kinds, names

    if what is not None and what not in kinds():
        part = find(what)
        if as_json:
            print(json.dumps({what: _facts(part)}, indent=1), flush=True)
        else:
            print(f"{what}{inspect.signature(part)}\n\n{inspect.getdoc(part) or ''}", flush=True)
        return
    listed = {each: names(each) for each in ([what] if what else kinds())}
    if as_json:
        found = {each: {name: _facts(find(name)) for name in group} for each, group in listed.items()}
        print(json.dumps(found, indent=1), flush=True)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("kind", "part", "summary", box=None, pad_edge=False)
    for each, group in listed.items():
        for name in group:
            table.add_row(each, name, _summary(find(name)))
    Console(width=None if Console().is_terminal else 500).print(table)


def _facts(part: type) -> dict[str, str]:
    return {"summary": _summary(part), "arguments": str(inspect.signature(part))}


def _summary(part: type) -> str:
    """The first line of the docstring."""
    return (inspect.getdoc(part) or "").partition("\n")[0]
