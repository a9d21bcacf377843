import io
import os
import pty
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr

import pytest

from narrows.cli import progress
from narrows.cli.progress import ProgressBar, clock, exit_on_sigterm


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return Terminal()


@pytest.fixture
def at_once(monkeypatch):
    """Progress is shown without the delays."""
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setattr(progress, "INTERVAL", 0.01)
    monkeypatch.setattr(progress, "FIRST_LINE", 0.0)


def wait_for(text, stream):
    for _ in range(500):
        if text in stream.getvalue():
            return
        time.sleep(0.01)
    raise AssertionError(stream.getvalue())


def test_bar_shows_count_and_status(terminal, at_once):
    with redirect_stderr(terminal), ProgressBar("items") as bar:
        bar.update(3, 10, "1.5 h/s, 2 failed [x]")
        bar.advance()
        wait_for("4/10", terminal)
    shown = terminal.getvalue()
    assert "items" in shown
    assert "1.5 h/s, 2 failed [x]" in shown


def test_total_is_kept_by_later_updates(terminal, at_once):
    with redirect_stderr(terminal), ProgressBar("files", 7) as bar:
        bar.update(5)
        wait_for("5/7", terminal)


def test_the_fraction_of_a_step_counts(terminal, at_once):
    log = io.StringIO()
    for stream in (terminal, log):
        with redirect_stderr(stream), ProgressBar("files", 2) as bar:
            bar.advance()
            with bar.step(lambda: 0.5):
                wait_for("75%", stream)
            with bar.step(lambda: None):
                wait_for("50%", stream)


def test_a_log_gets_lines(at_once):
    log = io.StringIO()
    with redirect_stderr(log), ProgressBar("items", 4) as bar:
        bar.update(1, status="2 failed")
        wait_for("left", log)
    assert re.fullmatch(r"codec: items 1/4, 25%, 0:0\d left, 2 failed", log.getvalue().splitlines()[-1])


def test_lines_become_rare(monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0.001)
    monkeypatch.setattr(progress, "FIRST_LINE", 0.02)
    log = io.StringIO()
    with redirect_stderr(log), ProgressBar("items", 4):
        time.sleep(0.4)
    assert 1 <= len(log.getvalue().splitlines()) <= 6  # after 0.02, 0.04, 0.08 s and so on


def test_nothing_is_shown_when_disabled_or_soon_over(terminal):
    pipe = io.StringIO()
    with redirect_stderr(terminal), ProgressBar("files", 2, enabled=False) as bar:
        bar.advance()
    for stream in (pipe, terminal):
        with redirect_stderr(stream), ProgressBar("files", 2) as bar:
            bar.update(1, 2, "status")
    assert terminal.getvalue() == pipe.getvalue() == ""


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.7, "1:00"), (3599, "59:59"), (3661, "1:01:01")])
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_piped_results_are_not_redirected_to_the_bar():
    """Standard output is a pipe, standard error a terminal."""
    code = (
        "import time\n"
        "from narrows.cli import progress\n"
        "progress.DELAY, progress.INTERVAL = 0.0, 0.01\n"
        "with progress.ProgressBar('files', 2) as bar:\n"
        "    time.sleep(0.3)\n"
        "    print('result')\n"
        "    bar.advance()\n"
    )
    master, slave = pty.openpty()
    try:
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=slave, check=True)
    finally:
        os.close(slave)
        os.close(master)
    assert done.stdout == b"result\n"


def test_sigterm_runs_finally_blocks():
    code = (
        "import os, signal\n"
        "from narrows.cli.progress import exit_on_sigterm\n"
        "exit_on_sigterm()\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    signal.pause()\n"
        "finally:\n"
        "    print('cleaned up', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (143, "cleaned up\n")


def test_handler_raises_system_exit():
    before = signal.getsignal(signal.SIGTERM)
    try:
        exit_on_sigterm()
        with pytest.raises(SystemExit) as raised:
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert raised.value.code == 143
