"""The time that a run with --minutes has, and the schedule that ends with it.

    0                       1 - RESERVE                                        1
    │ steps                 │ validation │ tables of checkpoint/ │ of best/    │
    └ warm-up ... decay ────┘

The steps end earlier by the time that the last validation took. Their number depends on the speed of the machine, so
two runs are not equal.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from math import inf, isfinite

import torch

from narrows.codecs import distributed as ranks
from narrows.errors import InputError, shortened
from narrows.recipes.settings import Schedule

RESERVE = 0.1  # fraction of the time that is kept for the last validation and the checkpoint
VALIDATED, FITTED, COMPLETED = 0.94, 0.97, 0.99  # fractions at which validation and the tables are cut short
WARMUP_FRACTION = 0.05  # fraction of the time after which the learning rate is at its peak at the latest


class Clock:
    """Measures the time of a run from its start, over all commands that continued it.

    Args:
        minutes: Time of the run; None for a run without a limit.
        now: Time in seconds.

    Raises:
        InputError: For minutes that are no number above 0.
    """

    def __init__(self, minutes: float | None, now: Callable[[], float] = time.monotonic) -> None:
        number = isinstance(minutes, int | float) and not isinstance(minutes, bool)
        if minutes is not None and not (number and isfinite(minutes) and minutes > 0):
            raise InputError(f"expected minutes above 0, got {shortened(minutes)}")
        self.seconds = inf if minutes is None else 60.0 * minutes
        self.validation = 0.0  # seconds of the last validation
        self.fraction = 0.0  # of the time for steps, the same on all ranks
        self._now, self._start = now, now()

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self.seconds < inf

    @property
    def over(self) -> bool:
        """Whether no further step is done."""
        return self.fraction >= 1.0

    @property
    def spent(self) -> float:
        """Seconds since the start of the run."""
        return self._now() - self._start

    @property
    def left(self) -> float:
        """Seconds left for steps."""
        return max(0.0, self._for_steps - self.spent)

    def resume(self, spent: float) -> None:
        """Add the seconds that the run has taken before."""
        self._start -= spent

    def tick(self, device: torch.device) -> None:
        """Read the clock of the first rank after a step. All ranks call it."""
        if self.limited:
            fraction = min(1.0, self.spent / self._for_steps) if ranks.rank() == 0 else 0.0
            self.fraction = float(ranks.total(torch.tensor(fraction, device=device)))

    def at(self, fraction: float) -> float:
        """The reading of `now` at a fraction of the run's time."""
        return self._start + fraction * self.seconds

    def passed(self, fraction: float) -> bool:
        """Whether a fraction of the run's time is over."""
        return self._now() > self.at(fraction)

    @property
    def _for_steps(self) -> float:
        return max(1e-3, (1 - RESERVE) * self.seconds - self.validation)


@dataclass(frozen=True)
class TimedSchedule(Schedule):
    """A schedule that ends with the time of a clock, or after its steps, whichever comes first.

    The learning rate rises over `warmup_steps` or 5 % of the time, whichever is shorter, and falls over the last
    `decay_fraction` of the time.
    """

    clock: Clock = field(default_factory=lambda: Clock(None))

    def lr_fraction(self, step: int) -> float:
        """Learning rate at a step as a fraction of the peak."""
        time = self.clock.fraction
        rising = max((step + 1) / self.warmup_steps, time / WARMUP_FRACTION)
        remaining = (1 - max(time, step / max(1, self.steps))) / max(1e-9, self.decay_fraction)
        return min(1.0, rising, max(self.final_lr_fraction, remaining))


def timed(schedule: Schedule, clock: Clock) -> Schedule:
    """The schedule of a run with a clock."""
    if not clock.limited:
        return schedule
    return TimedSchedule(**{each.name: getattr(schedule, each.name) for each in fields(schedule)}, clock=clock)
