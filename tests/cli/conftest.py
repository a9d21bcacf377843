import io
import os
import re
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from narrows.cli import main
from narrows.media import image

RATE = 16_000


@pytest.fixture(scope="session")
def model(tiny_checkpoint):
    return tiny_checkpoint()


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """The empty folder that the command is run in; a terminal's handling of SIGTERM is there again afterwards."""
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def codec(monkeypatch):
    """codec(*arguments) -> exit code, stdout and stderr of the command, run inside this process."""

    def run(*arguments, out=None, err=None):
        out = out or io.TextIOWrapper(io.BytesIO(), "utf-8")
        err = err or io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["codec", *map(str, arguments)])
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as end:
                main()
        for stream in (out, err):
            with suppress(BrokenPipeError):
                stream.flush()
        texts = [stream.buffer.getvalue().decode() for stream in (out, err)]
        return SimpleNamespace(code=end.value.code or 0, out=texts[0], err=texts[1])

    return run


@pytest.fixture
def refused(codec, place):
    """refused(*arguments) -> the one line that the command prints, ending with 2 and having changed no file.

    out: what is printed as the result, None for anything. advice: the line says what was expected or what to do.
    """

    def line(*arguments, out="", advice=True):
        before = snapshot(place)
        result = codec(*arguments)
        assert result.code == 2, result
        assert result.err.startswith("codec: ")
        assert result.err.count("\n") == 1, result.err
        assert re.search("expected|; ", result.err) or not advice, result.err
        assert not re.search(r"\wError", result.err)  # no name of a Python class
        assert snapshot(place) == before
        if out is not None:
            assert result.out == out
        return result.err

    return line


@pytest.fixture
def start():
    """start(*arguments) -> the command as a process of its own, with its pipes."""
    processes = []

    def started(*arguments, **options):
        heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # no shell has it ignored
        code = f"{heard}; from narrows.cli import main; main()"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        processes.append(subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, **pipes))
        return processes[-1]

    yield started
    for process in processes:
        with process:
            process.kill()


@pytest.fixture
def little_memory():
    """2 GB more than now is all there is to be had."""
    if sys.platform != "linux":
        pytest.skip("only Linux tells how much memory is in use")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**31, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.fixture
def wav(place):
    """wav(name, samples, channels, rate) -> path of a recording of noise; `bad` puts a value at a sample."""

    def written(name="a.wav", samples=500, channels=1, rate=RATE, bad=()):
        x = 0.1 * np.random.default_rng(0).standard_normal((samples, channels))
        for sample, channel, value in bad:
            x[sample, channel] = value
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, x, rate, "FLOAT" if bad else "PCM_16", format="WAV")
        return path

    return written


@pytest.fixture
def stream(codec, model, wav):
    """stream(name, ...) -> path of an .nrw file of noise; options as those of `wav`."""

    def written(name="s.nrw", *options, **noise):
        source = wav("noise.tmp", **noise)
        result = codec("encode", source, "-m", model, "-o", name, *options)
        assert result.code == 0, result
        source.unlink()
        return source.with_name(name)

    return written


@pytest.fixture
def image_file(place):
    """image_file(name, shape) -> path of an image of noise, in the format that the suffix names."""

    def written(name="a.png", shape=(3, 40, 70)):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.write(path, np.random.default_rng(0).integers(0, 256, shape, np.uint8))
        return path

    return written


@pytest.fixture
def image_stream(codec, image_checkpoint, image_file):
    """image_stream(name, ...) -> path of an .nrw file of an image of noise; options as those of `encode`."""

    def written(name="s.nrw", *options, shape=(3, 40, 70)):
        source = image_file("noise.png", shape)
        result = codec("encode", source, "-m", image_checkpoint, "-o", name, *options)
        assert result.code == 0, result
        source.unlink()
        return source.with_name(name)

    return written


def snapshot(folder):
    """Every path below a folder, with what would differ if a file had been touched or replaced."""
    facts = {path: os.lstat(path) for path in folder.rglob("*")}
    return {path: path.is_dir() or (fact.st_ino, fact.st_size, fact.st_mtime_ns) for path, fact in facts.items()}
