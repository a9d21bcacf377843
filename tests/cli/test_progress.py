import io
import os
import pty
import signal
import subprocess
import sys
from contextlib import redirect_stderr

import pytest

from narrows.cli.progress import ProgressBar, exit_on_sigterm


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return Terminal()


def test_bar_shows_count_and_status(terminal):
    with redirect_stderr(terminal), ProgressBar("items") as bar:
        bar.update(3, 10, "1.5 h/s, 2 failed [x]")
        bar.advance()
    shown = terminal.getvalue()
    assert "items" in shown
    assert "4/10" in shown
    assert "1.5 h/s, 2 failed [x]" in shown


def test_total_is_kept_by_later_updates(terminal):
    with redirect_stderr(terminal), ProgressBar("files", 7) as bar:
        bar.update(5)
    assert "5/7" in terminal.getvalue()


def test_nothing_is_shown_when_disabled_or_not_on_a_terminal(terminal):
    pipe = io.StringIO()
    with redirect_stderr(terminal), ProgressBar("files", 2, enabled=False) as bar:
        bar.advance()
    with redirect_stderr(pipe), ProgressBar("files", 2) as bar:
        bar.update(1, 2, "status")
    assert terminal.getvalue() == pipe.getvalue() == ""


def test_piped_results_are_not_redirected_to_the_bar():
    """Standard output is a pipe, standard error a terminal."""
    code = (
        "from narrows.cli.progress import ProgressBar\n"
        "with ProgressBar('files', 2) as bar:\n"
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
