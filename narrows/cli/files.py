"""The input and output files of a command, and what it prints about them."""

import glob
import os
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from narrows.errors import InputError, ModelError
from narrows.media.files import open_input, quoted
from narrows.media.folders import find_files, skipped_files

if TYPE_CHECKING:
    from narrows.bitstream import StreamHeader
    from narrows.media.extents import Extent
    from narrows.tokenizers.tokenizer import Tokenizer

InputOutput = tuple[Path, Path]
HEADER_BYTES = 1 << 16  # more than the header of an .nrw file can have


def plan_outputs(
    inputs: Sequence[str], out: Path | None, suffixes: Collection[str], name_of: Callable[[Path], str]
) -> list[InputOutput]:
    """All input files, each with its output file.

    Args:
        inputs: files, folders and globs.
        out: a file for a single input, else a folder, in which the files of an input folder keep their relative paths;
            None to write beside each input.
        suffixes: of the files to find in folders.
        name_of: function of an input that returns the name of its output.

    Raises:
        InputError: where there is no input, for two inputs with one output, and for an output that is an input.
    """
    if out is not None and str(out) == "-":
        raise InputError("expected a file or folder as -o, got -, but standard output cannot be written; name a file")
    found = [pair for given in inputs for pair in _expand(given, suffixes)]
    if not found:
        raise InputError(f"expected files with {', '.join(sorted(suffixes))}, got none in {', '.join(inputs)}")
    single = len(found) == 1 and not os.path.isdir(inputs[0])
    file = out if out is not None and out.suffix and not os.path.isdir(out) else None
    if file is not None and not single and file.suffix == Path(name_of(found[0][0])).suffix:
        raise InputError(f"expected a folder as -o for a folder or several files, got the file {file}")
    real_inputs = {os.path.realpath(path) for path, _ in found}
    planned: dict[str, InputOutput] = {}  # by the real path of the output
    for path, root in found:
        folder = path.parent if out is None else out / path.parent.relative_to(root)
        target = file if file is not None and single else folder / name_of(path)
        real = os.path.realpath(target)
        if real in real_inputs:
            raise InputError(f"the output of {path} would replace the input {target}; choose another with -o")
        other, _ = planned.setdefault(real, (path, target))
        if os.path.realpath(other) != os.path.realpath(path):
            raise InputError(f"expected one input per output, got {other} and {path} for {target}; use --keep-suffix")
    return list(planned.values())


def print_line(line: str) -> None:
    """Print one line on standard output. Control characters and line breaks, as in names of files, are escaped."""
    _write(_printable(line), sys.stdout)


def print_message(message: object, source: Path | None = None) -> None:
    """Print an error or warning as one line on standard error, with the input file if the message does not name it.

    Control characters, which a file may bring into a message, are escaped: a terminal would obey them.
    """
    line = _printable(" ".join(str(message).splitlines()))
    if source is not None and quoted(source) not in line:
        line = f"{quoted(source)}: {line}"
    _write(f"codec: {line}", sys.stderr)


def print_skipped(inputs: Sequence[str], suffixes: Collection[str], kind: str) -> None:
    """Print a line about the files in folders that have other suffixes, if there are any; .nrw files do not count."""
    line = skipped_files(inputs, {*suffixes, ".nrw"}, kind)
    if line is not None:
        print_message(line)


def read_stream(path: Path) -> bytes:
    """The bytes of an .nrw file. Other files are refused by their first bytes, before the rest is read."""
    from narrows.bitstream import read_header

    with open_input(path) as file:
        start = file.read(HEADER_BYTES)
        read_header(start)
        return start + file.read()


def read_stream_header(path: Path) -> "StreamHeader":
    """The header of an .nrw file."""
    from narrows.bitstream import read_header

    with open_input(path) as file:
        return read_header(file.read(HEADER_BYTES))


def shipped_model(name: str) -> str:
    """The name of a model that a file contains, if it ships with the package.

    Raises ModelError for other names: a file must not cause a folder to be loaded or a model to be downloaded.
    """
    from narrows.checkpoints.index import models

    if name not in (model.name for model in models()):
        raise ModelError(f"expected a model of this package, got {name!r}; give its folder or hub repository with -m")
    return name


def load_tokenizer(model: str, device: str, audio_model: str | None, *, several_media: bool) -> "Tokenizer":
    """The tokenizer of a model, folder or repository.

    Args:
        model: its name.
        device: where to compute.
        audio_model: for video, the model of the sound; None for those that ship.
        several_media: whether an `audio_model` is ignored for a model of another medium, for which it is an error else.
    """
    from narrows.checkpoints.load import load
    from narrows.tokenizers.video import VideoTokenizer

    tokenizer = load(model, device)
    if audio_model is not None:
        if isinstance(tokenizer, VideoTokenizer):
            tokenizer.audio = load(audio_model, device)
        elif not several_media:
            tokenizer.check_only_video(audio_model=audio_model)
    return tokenizer


def rates_of(num_bytes: int, extent: "Extent") -> dict[str, float]:
    """The rate of a stream by its key: that of the medium, and kbit/s for all that has a duration."""
    from narrows.media.table import MEDIA

    medium = MEDIA[extent.medium]
    rates = {medium.rate_key: medium.rate(num_bytes, extent.amount)}
    if extent.seconds:
        rates["kbit_per_second"] = 8 * num_bytes / extent.seconds / 1000
    return rates


class Stopwatch:
    """Measures the time since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self._start


def _write(line: str, stream: TextIO) -> None:
    """Write a line at once: other processes may write to the same pipe."""
    stream.write(f"{line}\n")
    stream.flush()


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _expand(given: str, suffixes: Collection[str]) -> list[tuple[Path, Path]]:
    """The files that one argument stands for, each with the folder that its output path is relative to."""
    if not given:
        raise InputError("expected a file, folder or glob, got an empty name; . is the current folder")
    path = Path(given)
    if os.path.isdir(path):
        return [(Path(file.path), path) for file in find_files(path, suffixes)]
    if os.path.exists(path) or not glob.has_magic(given):
        return [(path, path.parent)]
    matches = [Path(file.path) for file in find_files(given)]
    return [(match, match.parent) for match in matches]
