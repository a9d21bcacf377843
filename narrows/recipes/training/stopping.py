"""Ends a run on Ctrl-C (SIGINT) and SIGTERM: after the step, or at once if nothing would be saved.

All ranks end after the same step. The first rank passes a signal on to the processes that it has started.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn, Self

import torch

from narrows.codecs import distributed as ranks

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Handlers of both signals, as a context manager.

    Args:
        first: Whether this is the first rank. The others do not end at once on a second signal: a terminal sends Ctrl-C
            to all processes, and the first rank passes it on.

    Attributes:
        training: Whether a signal waits for the end of the step.
        received: The first signal.
        agreed: Whether all ranks end after this step.
        pass_on: Sends a signal to the processes that this one has started.
        report: Says where the run was stopped, and removes files that are not complete.
    """

    def __init__(self, first: bool) -> None:
        self.first = first
        self.training = self.agreed = False
        self.received: int | None = None
        self.pass_on: Callable[[int], None] = lambda number: None
        self.report: Callable[[], None] = lambda: None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # only there, Python handles signals
            before = {number: signal.getsignal(number) for number in SIGNALS}
            self._before = {number: each for number, each in before.items() if each not in (None, signal.SIG_IGN)}
            self.install()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def install(self) -> None:
        """Set the handlers, again if Lightning has set its own: they would exchange tensors in the midst of a step."""
        for number in self._before:
            signal.signal(number, self._handle)

    def wait(self) -> None:
        """From now on, let a signal wait for the end of the step."""
        self.training = True
        self.install()

    def agree(self, device: torch.device) -> bool:
        """Whether any rank has received a signal. All ranks call it, at the same places."""
        if self.agreed or ranks.count() == 1:
            self.agreed = self.received is not None
            return self.agreed
        flags = torch.tensor([float(self.received == number) for number in SIGNALS], device=device)
        anywhere = [number for number, flag in zip(SIGNALS, ranks.total(flags).tolist(), strict=True) if flag]
        if anywhere:
            self.received, self.agreed = self.received or anywhere[-1], True
        return self.agreed

    def end(self) -> NoReturn:
        """End as the signal does: KeyboardInterrupt (exit code 130) or SystemExit with code 143.

        Other ranks end with code 0: Lightning kills all processes if one that it has started ends with another.
        """
        if not self.first:
            raise SystemExit(0)
        if self.received == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.received is not None
        self.received = self.received or number
        if self.training and not again:
            self.pass_on(number)
        elif self.training and not self.first:
            return
        elif again and (number == signal.SIGTERM or ranks.count() > 1):
            # An exception, here in the midst of anything, would wait for other processes.
            self.pass_on(getattr(signal, "SIGKILL", signal.SIGTERM))
            self.report()
            os._exit(128 + number)
        else:
            self.pass_on(number)
            self.end()
