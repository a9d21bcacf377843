"""`codec`: one file a verb. It parses and prints; what it says is decided elsewhere."""

import sys
from io import StringIO, TextIOWrapper

import typer

from narrows.cli.decode import decode
from narrows.cli.detokenize import detokenize
from narrows.cli.encode import encode
from narrows.cli.evaluate import evaluate
from narrows.cli.export_tokens import export_tokens
from narrows.cli.files import complain
from narrows.cli.info import info
from narrows.cli.models import models
from narrows.cli.parts import parts
from narrows.cli.tokenize import tokenize
from narrows.cli.train import train
from narrows.errors import NarrowsError

app = typer.Typer(
    name="codec",
    help="Neural codecs: media to tokens and bytes, and back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(encode)
app.command()(decode)
app.command()(info)
app.command()(tokenize)
app.command()(models)
app.command()(parts)
app.command()(detokenize)
app.command("export-tokens")(export_tokens)
app.command()(evaluate)
_passed_on = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
app.command(context_settings=_passed_on)(train)  # a recipe's own settings, its --help among them


def main() -> None:
    """Entry point of the command `codec`: errors of ours become one line and exit code 2; Ctrl-C gives 130."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no text, terminals may lack an arrow
    try:
        app()
    except NarrowsError as error:
        complain(error)
    except MemoryError:
        complain("there is not enough memory; nothing more was done")
    except OSError as error:
        complain(f"{error.filename or 'standard output'}: {error.strerror or error}; nothing more was done")
        sys.stdout = StringIO()  # what still waits to be printed would fail a second time
    sys.exit(2)
