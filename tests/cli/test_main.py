import io
import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import numpy as np
import pytest

from narrows.bitstream import AudioExtent, StreamHeader, read_header, write
from narrows.checkpoints.load import load


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["encode", "--help"],
        ["tokenize", "--help"],
        ["models", "--json"],
        ["decode"],
        ["nonsense"],
    ],
)
def test_help_and_listings_need_no_torch(arguments):
    program = (
        "import sys, atexit\n"
        f"sys.argv[1:] = {arguments}\n"
        "atexit.register(lambda: print(*{'torch', 'numpy', 'soundfile', 'rich'} & set(sys.modules)))\n"
        "from narrows.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == ""


def test_the_version_is_printed(codec):
    result = codec("--version")
    assert (result.code, result.out, result.err) == (0, f"codec {version('narrows')}\n", "")


VERBS = ["encode", "decode", "info", "models", "tokenize", "train", "detokenize", "export-tokens"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_has_help(codec, verb):
    result = codec(verb, "--help")
    assert (result.code, result.err) == (0, "")
    assert re.match(r"Usage: .*" + verb, result.out)
    assert verb in codec("--help").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Usage"),
        (["nonsense"], "nonsense"),
        (["encode"], "files"),
        (["encode", "a.wav", "--bitrate", "much"], "--bitrate"),
        (["encode", "a.wav", "--modle", "m"], "--model"),
        (["encode", "a.wav", "-m"], "-m"),
        (["encode", "-x.wav"], "-x"),
        (["info"], "FILE"),
        (["info", "a.nrw", "b.nrw"], "b.nrw"),
        (["models", "all"], "all"),
    ],
)
def test_invalid_options_are_refused(codec, place, arguments, message):
    result = codec(*arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert "Traceback" not in result.err
    assert not list(place.iterdir())


def long_wav(place, model):
    path = place / "long.wav"
    size = 2_000_000_000  # 17 hours of silence that take no room
    shape = (16).to_bytes(4, "little") + b"\1\0\1\0" + (16_000).to_bytes(4, "little") + (32_000).to_bytes(4, "little")
    head = b"RIFF" + (size + 36).to_bytes(4, "little") + b"WAVEfmt " + shape + b"\2\0\x10\0data"
    path.write_bytes(head + size.to_bytes(4, "little"))
    os.truncate(path, size + 44)
    return path


def long_stream(place, model):
    path = place / "long.nrw"
    tokenizer = load(model)
    frames = 1_000_000  # 5.5 hours
    fingerprint = bytes.fromhex(tokenizer.fingerprint)
    radices = tokenizer.codec.bottleneck.radices
    extent = AudioExtent(16_000, 320 * frames, 1)
    header = StreamHeader("tiny", fingerprint, extent, radices, (frames,), 1000)
    path.write_bytes(write(header, np.zeros(header.shape, np.uint8)))
    return path


@pytest.mark.parametrize(
    ("verb", "source", "number", "code"),
    [
        ("encode", long_wav, signal.SIGINT, 130),
        ("decode", long_stream, signal.SIGINT, 130),
        ("encode", long_wav, signal.SIGTERM, 143),
    ],
)
def test_signals_leave_no_half_written_files(start, model, place, verb, source, number, code):
    path = source(place, model)
    process = start(verb, path, "-m", model, "-o", place / "new" / "result.wav")
    deadline = time.monotonic() + 300
    while not list(place.glob("new/.narrows-*.part")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    assert err.count("\n") == 1
    assert list(place.iterdir()) == [path]


def test_a_closed_pipe_ends_quietly(start):
    reading, writing = os.pipe()
    os.close(reading)
    process = start("models", "--json", stdout=writing)
    os.close(writing)
    assert process.communicate()[1] == ""
    assert process.returncode == 1


def test_a_closed_pipe_leaves_complete_files(codec, model, wav, place):
    class Closed:
        buffer = io.BytesIO()

        def write(self, text):
            return len(text)

        def flush(self):
            raise BrokenPipeError(32, "Broken pipe")

    wav("a.wav")
    wav("b.wav")
    result = codec("encode", "a.wav", "b.wav", "-m", model, out=Closed())
    assert (result.code, result.err) == (1, "")
    assert sorted(path.name for path in place.iterdir()) == ["a.nrw", "a.wav", "b.wav"]
    assert read_header((place / "a.nrw").read_bytes()).model == "tiny"


def test_standard_output_on_a_full_disk_is_reported(start):
    with open("/dev/full", "w") as full:
        process = start("models", "--json", stdout=full)
        assert process.communicate()[1].startswith("codec: standard output: No space left on device; ")
    assert process.returncode == 2


def test_closed_standard_output_is_accepted(codec, model, wav, start):
    wav()
    command = [sys.executable, "-c", "from narrows.cli import main; main()", "models"]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
