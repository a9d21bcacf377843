"""`codec`: one file per command. Commands parse arguments and print; the work is done elsewhere.

encode, decode, info                   files
tokenize, detokenize, export_tokens    data sets
train, rebottleneck, fit_tables, evaluate models
models, parts, convert                 what there is, and public checkpoints as folders
files, jobs, threads                   inputs and outputs, the loop over them, CPU threads
options, progress                      options and progress that commands share
"""

import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from io import StringIO, TextIOWrapper
from typing import Annotated, Any, TextIO

import typer

from narrows.cli.convert import convert
from narrows.cli.decode import decode
from narrows.cli.detokenize import detokenize
from narrows.cli.encode import encode
from narrows.cli.evaluate import evaluate
from narrows.cli.export_tokens import export_tokens
from narrows.cli.files import print_message
from narrows.cli.fit_tables import fit_tables
from narrows.cli.info import info
from narrows.cli.models import models
from narrows.cli.parts import parts
from narrows.cli.rebottleneck import rebottleneck
from narrows.cli.tokenize import tokenize
from narrows.cli.train import train
from narrows.errors import LicenceWarning, NarrowsError, PluginWarning, is_out_of_memory
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


Import = Annotated[
    list[str] | None,
    typer.Option(
        "--import", metavar="MODULE", help="Module or file.py with parts or metrics of your own; repeat for more."
    ),
]


def _add(command: Callable[..., None], name: str | None = None, extra: str | None = None, **context: Any) -> None:
    """Adds a command with the option --import to the app; `extra` has the packages that it needs."""

    @functools.wraps(command)
    def run(*args: Any, imports: list[str] | None, **kwargs: Any) -> None:
        if imports:
            from narrows.plugins import import_for_workers

            import_for_workers(imports)
        with needs_extra(extra) if extra else nullcontext():
            command(*args, **kwargs)

    signature = inspect.signature(command)
    added = inspect.Parameter("imports", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Import)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), added])  # type: ignore[attr-defined]
    run.__annotations__ = {**command.__annotations__, "imports": Import}
    app.command(name, context_settings=context)(run)


_add(encode)
_add(decode)
_add(info)
_add(tokenize, extra="datasets")
_add(models)
_add(convert)
_add(parts)
_add(fit_tables, "fit-tables", extra="train")
_add(detokenize, extra="datasets")
_add(export_tokens, "export-tokens", extra="datasets")
_add(evaluate, extra="evaluate")
# settings of the recipe, including --help, are passed on
_add(train, extra="train", allow_extra_args=True, ignore_unknown_options=True, help_option_names=[])

_add(rebottleneck, extra="train", allow_extra_args=True, ignore_unknown_options=True)


_show_other_warning = warnings.showwarning


def main() -> None:
    """Entry point of `codec`: a NarrowsError becomes one line and exit code 2; Ctrl-C gives exit code 130."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names that are not UTF-8, terminals without arrows
    warnings.showwarning = _show_warning
    try:
        app()
    except NarrowsError as error:
        print_message(error)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print_message("not enough memory; nothing more was done")
    except OSError as error:
        print_message(f"{error.filename or 'standard output'}: {error.strerror or error}; nothing more was done")
        sys.stdout = StringIO()  # flushing the rest would fail again
    sys.exit(2)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning of this library as one line, others as usual."""
    if issubclass(category, PluginWarning | LicenceWarning):
        print_message(message)
    else:
        _show_other_warning(message, category, filename, lineno, file, line)
