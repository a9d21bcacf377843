"""`codec`: one file per command. Commands parse arguments and print; the work is done elsewhere."""

import sys
from io import StringIO, TextIOWrapper
from typing import Annotated

import typer

from narrows.cli.decode import decode
from narrows.cli.detokenize import detokenize
from narrows.cli.encode import encode
from narrows.cli.evaluate import evaluate
from narrows.cli.export_tokens import export_tokens
from narrows.cli.files import print_message
from narrows.cli.info import info
from narrows.cli.models import models
from narrows.cli.parts import parts
from narrows.cli.tokenize import tokenize
from narrows.cli.train import train
from narrows.errors import NarrowsError
from narrows.extras import needs_extra

app = typer.Typer(
    name="codec",
    help="Neural codecs: media to tokens and bytes, and back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(given: bool) -> None:
    if given:
        from importlib.metadata import version

        print(f"codec {version('narrows')}", flush=True)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options of `codec` itself."""


app.command()(encode)
app.command()(decode)
app.command()(info)
app.command()(needs_extra("datasets")(tokenize))
app.command()(models)
app.command()(parts)
app.command()(needs_extra("datasets")(detokenize))
app.command("export-tokens")(needs_extra("datasets")(export_tokens))
app.command()(needs_extra("evaluate")(evaluate))
_passed_on = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
app.command(context_settings=_passed_on)(needs_extra("train")(train))  # settings of the recipe, including --help


def main() -> None:
    """Entry point of `codec`: a NarrowsError becomes one line and exit code 2; Ctrl-C gives exit code 130."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names that are not UTF-8, terminals without arrows
    try:
        app()
    except NarrowsError as error:
        print_message(error)
    except MemoryError:
        print_message("not enough memory; nothing more was done")
    except OSError as error:
        print_message(f"{error.filename or 'standard output'}: {error.strerror or error}; nothing more was done")
        sys.stdout = StringIO()  # flushing the rest would fail again
    sys.exit(2)
