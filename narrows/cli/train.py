"""`codec train`: a recipe from the command line."""

from pathlib import Path
from typing import Annotated

import typer

RECIPES = ("speech",)


def train(
    context: typer.Context,
    recipe: Annotated[
        str, typer.Argument(help=f"Which recipe: {', '.join(RECIPES)}. `codec train RECIPE --help` lists its options.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder of the run; an interrupted run in it goes on. [runs/RECIPE]"),
    ] = None,
    init: Annotated[str | None, typer.Option(help="Model or checkpoint folder whose weights are the start.")] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Pass through the whole run in seconds, on made-up data.")
    ] = False,
) -> None:
    """Train a codec: codec train speech --data.train DIR --data.valid DIR --schedule.steps 1000 --optimizer.lr 1e-4"""
    from narrows.errors import InputError

    if recipe not in RECIPES:
        raise InputError(f"no recipe is called {recipe!r}; there are {', '.join(RECIPES)}")
    from importlib import import_module

    from jsonargparse import auto_cli

    from narrows.recipes.run import run

    made = auto_cli(
        getattr(import_module(f"narrows.recipes.{recipe}"), recipe), args=context.args, prog=f"codec train {recipe}"
    )
    folder = run(made, out or Path("runs") / recipe, init, smoke)
    print(f"trained: {folder}")
