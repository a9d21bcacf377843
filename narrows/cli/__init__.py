"""`codec`: one file a verb. It parses and prints; what it says is decided elsewhere."""

import sys
from typing import Any

import typer

from narrows.cli.decode import decode
from narrows.cli.encode import encode
from narrows.cli.info import info
from narrows.cli.models import models
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
app.command()(models)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(train)


def main() -> None:
    """Entry point of the command `codec`: errors of ours become one line and exit code 2, Ctrl-C becomes 130."""
    try:
        app()
    except NarrowsError as error:
        fail(error)
    except KeyboardInterrupt:
        print("codec: interrupted; nothing half-written is left", file=sys.stderr)
        sys.exit(130)


def fail(error: Any) -> None:
    """Say in one line on standard error what went wrong, and exit with 2."""
    print(f"codec: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(2)
