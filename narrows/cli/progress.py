"""The progress bar and the SIGTERM handling that all commands share."""

import signal
import sys
from typing import Self


def exit_on_sigterm() -> None:
    """Makes SIGTERM raise SystemExit(143), so that `finally` blocks remove partial files and end workers."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class ProgressBar:
    """A progress bar on standard error, as a context manager; results that are printed meanwhile appear above it.

    It shows a label, a bar, the count, the remaining time and a status text. If standard error is not a terminal,
    nothing is shown and rich is not imported.

    Args:
        label: Text before the bar.
        total: Number of steps; None if it is not known yet.
        enabled: If False, nothing is shown, even on a terminal.
    """

    def __init__(self, label: str, total: int | None = None, *, enabled: bool = True) -> None:
        self._bar = None
        if not enabled or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        status = TextColumn("{task.fields[status]}", markup=False)
        # standard output is redirected above the bar only if it is a terminal: a pipe or file keeps its results
        console, redirect = Console(stderr=True), sys.stdout.isatty()
        self._bar = Progress(*columns, status, console=console, redirect_stdout=redirect)
        self._task = self._bar.add_task(label, total=total, status="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, completed: int, total: int | None = None, status: str = "") -> None:
        """Shows the number of finished steps, the number of all steps (None: unchanged) and a status text."""
        if self._bar is not None:
            self._bar.update(self._task, completed=completed, total=total, status=status)

    def advance(self) -> None:
        """Shows one more finished step."""
        if self._bar is not None:
            self._bar.advance(self._task)
