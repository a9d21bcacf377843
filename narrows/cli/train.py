"""`codec train`: trains a codec with a recipe."""

import inspect
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from narrows.errors import InputError
from narrows.recipes.registry import check_recipe, own_errors, recipe_function, recipe_name, recipe_names

NAMES = ", ".join(recipe_names())


def train(
    context: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Argument(
            help=f"Recipe: {NAMES}, or your own: FILE.py:FUNCTION or MODULE:FUNCTION. `codec train RECIPE --help` lists"
            " its settings."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder of the run; an interrupted run in it is resumed. [runs/RECIPE]"),
    ] = None,
    init: Annotated[
        str | None, typer.Option(help="Model or checkpoint folder that the run starts with, with finetune any model.")
    ] = None,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke", help="Test the whole run in seconds: a few steps on synthetic data. [-o runs/RECIPE-smoke]"
        ),
    ] = False,
    devices: Annotated[
        int,
        typer.Option(help="Number of GPUs, or of processes on a CPU, of each node; each takes a batch of its own."),
    ] = 1,
    nodes: Annotated[
        int,
        typer.Option(help="Number of machines; start the command on each, or with torchrun or srun."),
    ] = 1,
    precision: Annotated[str, typer.Option(help="bf16, fp32, or auto: bf16 on a GPU that has it.")] = "auto",
    accumulate: Annotated[
        int, typer.Option(metavar="N", help="Take N batches per step and device, one after the other.")
    ] = 1,
    minutes: Annotated[
        float | None,
        typer.Option(help="Time of the run, at whose end the checkpoint is written; the learning rate follows it."),
    ] = None,
    change: Annotated[
        bool, typer.Option("--change", help="Resume with other settings than the run was started with.")
    ] = False,
    logger: Annotated[
        str, typer.Option(help="none, tensorboard or wandb; losses and metrics are in OUT/metrics.jsonl in any case.")
    ] = "none",
) -> None:
    """Train a codec: codec train speech --data.train DIR --data.valid DIR --schedule.steps 1000 --optimizer.lr 1e-4"""
    if recipe in (None, "--help", "-h"):
        print(context.get_help(), flush=True)
        return
    train_recipe(
        recipe,
        context.args,
        out or Path("runs") / (recipe_name(recipe) + "-smoke" * smoke),
        init=init,
        smoke=smoke,
        devices=devices,
        nodes=nodes,
        precision=precision,
        accumulate=accumulate,
        minutes=minutes,
        change=change,
        logger=logger,
    )


def train_recipe(recipe: str, settings: list[str], out: Path, **options: Any) -> None:
    """Train a recipe.

    Args:
        recipe: its name, FILE.py:FUNCTION or MODULE:FUNCTION.
        settings: of the recipe, as on the command line.
        out: folder of the run.
        options: other arguments of `recipes.training.run.run`.
    """
    function = recipe_function(recipe)
    if options.get("init") is not None and "init" in inspect.signature(function).parameters:
        settings = ["--init", options.pop("init"), *settings]  # the recipe makes its codec of it
    from argparse import ArgumentError

    from jsonargparse import auto_cli

    from narrows.cli.files import print_line
    from narrows.codecs.distributed import is_launched_first
    from narrows.recipes.training.run import run

    try:
        with own_errors(recipe, function):
            made = auto_cli(
                function, args=settings, prog=f"codec train {recipe}", as_positional=False, exit_on_error=False
            )
    except ArgumentError as error:
        raise InputError(f"{error}; `codec train {recipe} --help` lists the settings") from error
    try:
        with own_errors(recipe, function):
            trained = run(check_recipe(recipe, made), out, target=recipe, **options)
    except KeyboardInterrupt:  # the run has said where it stopped
        sys.exit(130)
    if options.get("devices", 1) * options.get("nodes", 1) == 1 or is_launched_first():
        print_line(f"trained: {trained}")
