"""`codec rebottleneck`: gives a finished codec another latent space."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from narrows.cli.train import train_recipe
from narrows.errors import InputError
from narrows.recipes.settings import Structure

STRUCTURES = get_args(Structure)


def rebottleneck(
    context: typer.Context,
    base: Annotated[str, typer.Argument(help="Model that gets the bottleneck: a name, a folder or a hub repository.")],
    structure: Annotated[
        str,
        typer.Option(help=f"Structure of the latents, one or several with commas: {', '.join(STRUCTURES)}."),
    ],
    data: Annotated[
        list[str], typer.Option(help="Folder of media, or another source that `codec tokenize` reads; repeat for more.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the run; an interrupted run in it is resumed.")],
    valid: Annotated[
        list[str] | None, typer.Option(help="Media for validation; without them other parts of the same media.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Time of the run, at whose end the checkpoint is written. [4000 steps]")
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Test the whole run in seconds: a few steps on synthetic data.")
    ] = False,
    change: Annotated[
        bool, typer.Option("--change", help="Resume with other settings than the run was started with.")
    ] = False,
) -> None:
    """Train a bottleneck around a finished codec, between its latents: codec rebottleneck speech --structure ordered
    --data DIR -o OUT

    The result is OUT/checkpoint, a model like any other. `codec train rebottleneck --help` lists further settings,
    which are taken here, too: --network.width 128
    """
    chosen = [name.strip() for name in structure.split(",")]
    for name in chosen:
        if name not in STRUCTURES:
            raise InputError(f"expected structures of {', '.join(STRUCTURES)}, got {name!r}")
    settings = ["--base", base, "--structure", _listed(chosen), "--data.train", _listed(data)]
    settings += ["--data.valid", _listed(valid)] if valid else []
    train_recipe("rebottleneck", [*settings, *context.args], out, minutes=minutes, smoke=smoke, change=change)


def _listed(values: list[str]) -> str:
    """A list as jsonargparse reads it."""
    import json

    return json.dumps(values)
