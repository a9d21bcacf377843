"""Shows how far a run is on standard error: a bar on a terminal, else lines at growing intervals."""

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

FIRST_INTERVAL, LAST_INTERVAL, GROWTH = 10.0, 60.0, 1.3  # seconds between two lines
REFRESH = 0.2  # seconds between two updates of the bar
SMOOTHING = 0.05  # weight of the newest step in the mean time of a step


class Progress:
    """The step of all steps, the loss, the rate and the remaining time.

    Args:
        steps: Steps of the whole run.
        step: Steps that were done before.
        shown: Whether to show anything.
        clock: Time in seconds.
        limit: Seconds after which the run ends at the latest.
    """

    def __init__(
        self,
        steps: int,
        step: int,
        shown: bool = True,
        clock: Callable[[], float] = time.monotonic,
        limit: Callable[[], float] = lambda: inf,
    ) -> None:
        self._steps, self._first, self._shown, self._clock, self._limit = steps, step, shown, clock, limit
        self._start = self._last = clock()
        self._seconds = 0.0  # mean time of a step
        self._bar = _bar(steps, step) if shown and sys.stderr.isatty() else None
        self._interval = REFRESH if self._bar else FIRST_INTERVAL
        self._next = self._start + self._interval

    def resume(self) -> None:
        """Leave out the time since the last step: it was not spent on a step."""
        self._last = self._clock()

    def step(self, step: int, loss: Callable[[], float | None]) -> None:
        """Show a finished step; the loss is asked for when it is shown."""
        now = self._clock()
        spent, self._last = now - self._last, now
        self._seconds += (spent - self._seconds) * (SMOOTHING if self._seconds else 1.0)
        if not self._shown or (now < self._next and step < self._steps):
            return
        status = self._status(step, loss())
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=step, status=status)
        else:
            print(f"step {step} of {self._steps}  {status}", file=sys.stderr, flush=True)
            self._interval = min(self._interval * GROWTH, LAST_INTERVAL)
        self._next = now + self._interval

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.stop()

    def _status(self, step: int, loss: float | None) -> str:
        rate = f"{1 / self._seconds:.3g} steps/s" if self._seconds else ""
        elapsed = self._clock() - self._start  # with validations
        expected = elapsed / max(1, step - self._first) * (self._steps - step)
        left = timedelta(seconds=round(min(expected, self._limit())))
        shown = "" if loss is None else f"loss {loss:.4g}  "
        return f"{shown}{rate}  {left} left"


def _bar(steps: int, step: int) -> "Bar":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = ("step", MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[status]}", markup=False))
    # standard output goes above the bar only if it is a terminal: a pipe or file keeps its lines
    bar = Bar(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty())
    bar.add_task("", total=steps, completed=step, status="")
    bar.start()
    return bar
