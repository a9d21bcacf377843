"""Progress on standard error, and the SIGTERM handling that all commands share."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

DELAY = 1.0  # seconds before a bar is shown
INTERVAL = 0.5  # seconds between two looks at the progress
FIRST_LINE, LAST_INTERVAL = 10.0, 60.0  # seconds before the first plain line, and at most between two of them


def exit_on_sigterm() -> None:
    """Makes SIGTERM raise SystemExit(143), so that `finally` blocks remove partial files and end workers."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class ProgressBar:
    """Progress on standard error, as a context manager; results that are printed meanwhile appear above it.

    On a terminal it is a bar with the count, the remaining time and a status text, shown after `DELAY` seconds.
    Elsewhere, as in a log file, it is a line now and then: after 10 seconds, later once a minute.

    Args:
        label: Text before the bar.
        total: Number of steps; None if it is not known yet.
        enabled: If False, nothing is shown.
    """

    def __init__(self, label: str, total: int | None = None, *, enabled: bool = True) -> None:
        self._label, self._total, self._enabled = label, total, enabled
        self._completed, self._status = 0.0, ""
        self._fraction: Callable[[], float | None] = lambda: None  # of the current step
        self._bar: Any = None
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        self._begin = time.monotonic()
        self._next_line = self._begin + FIRST_LINE
        if self._enabled:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._enabled:
            self._thread.join()
        if self._bar is not None:
            self._show()
            self._bar.stop()

    def update(self, completed: int, total: int | None = None, status: str = "") -> None:
        """Sets the number of finished steps, the number of all steps (None: unchanged) and a status text."""
        self._completed, self._status = completed, status
        self._total = self._total if total is None else total

    def advance(self) -> None:
        """One more step is finished."""
        self._completed += 1

    @contextmanager
    def step(self, fraction: Callable[[], float | None]) -> Iterator[None]:
        """Within the context, the current step is finished to the fraction, 0 to 1, that the function returns."""
        self._fraction = fraction
        try:
            yield
        finally:
            self._fraction = lambda: None

    def _watch(self) -> None:
        """Runs in a thread until the end."""
        while not self._stopped.wait(INTERVAL):
            now = time.monotonic()
            if sys.stderr.isatty():
                if now - self._begin >= DELAY:
                    self._show()
            elif now >= self._next_line and self._completed != self._total:
                self._print_line(now - self._begin)
                self._next_line = now + min(now - self._begin, LAST_INTERVAL)

    def _done(self) -> float:
        """Finished steps, with the fraction of the current one."""
        return self._completed + min(1.0, self._fraction() or 0.0)

    def _show(self) -> None:
        """Update the bar; make it first where it is missing."""
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            columns = ("{task.description}", BarColumn(), TextColumn("{task.fields[count]}"), TaskProgressColumn())
            status = TextColumn("{task.fields[status]}", markup=False)
            # standard output is redirected above the bar only if it is a terminal: a pipe or file keeps its results
            console, redirect = Console(stderr=True), sys.stdout.isatty()
            self._bar = Progress(*columns, TimeRemainingColumn(), status, console=console, redirect_stdout=redirect)
            self._task = self._bar.add_task(self._label, status="", count="")
            self._bar.start()
        done = self._done()
        self._bar.update(self._task, completed=done, total=self._total, status=self._status, count=self._count())

    def _count(self) -> str:
        return f"{int(self._completed)}/{'?' if self._total is None else self._total}"

    def _print_line(self, seconds: float) -> None:
        line, done = f"{self._label} {self._count()}", self._done()
        if self._total:
            line += f", {done / self._total:.0%}"
        if self._total and done > 0:
            line += f", {clock(seconds * (self._total - done) / done)} left"
        print(f"codec: {line}{', ' if self._status else ''}{self._status}", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """A duration as minutes:seconds, or hours:minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
