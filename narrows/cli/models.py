"""`codec models`: the models that can be loaded by name."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from narrows.cli.options import Json

Rows = list[tuple[str, ...]]


def models(
    everything: Annotated[
        bool, typer.Option("--all", help="Also public models of other libraries, which are fetched when first used.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the models that ship with the package, with --all also those on the Hugging Face Hub that can be loaded."""
    from narrows.checkpoints.families.releases import releases
    from narrows.checkpoints.index import models as shipped

    listed, public = shipped(), releases() if everything else ()
    if as_json:
        print(json.dumps([asdict(model) for model in (*listed, *public)], indent=1), flush=True)
        return
    _print(("name", "medium", "summary", "licence"), [(m.name, m.medium, m.summary, m.licence) for m in listed])
    if everything:
        print(flush=True)
        head = ("name", "sample rate", "kbit/s", "tokens/s", "parameters", "reach", "licence", "repository")
        _print(
            head, [(release.name, *_cells(release.facts), release.licence, release.repository) for release in public]
        )


def _print(head: tuple[str, ...], rows: Rows) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*head, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console(width=None if Console().is_terminal else 500).print(table)


def _cells(facts: Any) -> tuple[str, ...]:
    """Sample rate, nominal kbit/s, tokens per second, parameters, and seconds seen before and after."""
    if not facts:
        return ("",) * 5
    rate = f"{facts['sample_rate'] / 1000:g} kHz" + (" stereo" if facts["channels"] == 2 else "")
    coded = facts["codebooks"] > 0
    return (
        rate,
        f"{facts['kbps']:g}" if coded else "continuous",
        f"{facts['tokens_per_second']:g}" if coded else f"{facts['frame_rate']:g} frames",
        f"{facts['parameters'] / 1e6:.3g} M",
        _reach(facts),
    )


def _reach(facts: Any) -> str:
    """How far encoder and decoder together look, in seconds."""
    axes = [axis for (axis,) in facts["reach"]]
    if None in axes:
        return "whole recording"
    before, after = (sum(axis[side] for axis in axes) / facts["frame_rate"] for side in (0, 1))
    return f"causal, {before:.3g} s" if after == 0 else f"{before:.3g} s, {after:.3g} s ahead"
