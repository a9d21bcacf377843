"""`codec train`: a recipe from the command line."""

from pathlib import Path
from typing import Annotated

import typer

RECIPES = ("speech", "image", "image-tokenizer")


def train(
    context: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Argument(help=f"Which recipe: {', '.join(RECIPES)}. `codec train RECIPE --help` lists its settings."),
    ] = None,
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

    if recipe in (None, "--help", "-h"):
        print(context.get_help(), flush=True)
        return
    if recipe not in RECIPES:
        raise InputError(f"no recipe is called {recipe!r}; there are {', '.join(RECIPES)}")
    from argparse import ArgumentError
    from importlib import import_module

    from jsonargparse import auto_cli

    from narrows.recipes.training.run import run

    name = recipe.replace("-", "_")
    function = getattr(import_module(f"narrows.recipes.{name}"), name)
    try:
        made = auto_cli(function, args=context.args, prog=f"codec train {recipe}", exit_on_error=False)
    except ArgumentError as error:
        raise InputError(f"{error}; `codec train {recipe} --help` lists the settings") from error
    folder = run(made, out or Path("runs") / recipe, init, smoke)
    print(f"trained: {folder}", flush=True)
