"""Which files a command works on, where their results go, and the loop over them."""

import glob
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.cli.progress import ProgressBar, exit_on_sigterm
from narrows.errors import InputError, MediaError, ModelError, NarrowsError
from narrows.media.files import open_input, shown
from narrows.media.folders import find_files

if TYPE_CHECKING:
    from narrows.bitstream import StreamHeader

Job = tuple[Path, Path]  # from, to
LONGEST_HEADER = 1 << 16  # bytes of an .nrw file, and more than a header can have


def plan(
    inputs: Sequence[str], out: Path | None, wanted: Collection[str], suffix: str | Callable[[Path], str]
) -> list[Job]:
    """Input files (files, folders, globs) with the place of each result.

    wanted: suffixes looked for in folders. suffix: of the results, or what tells it of an input. out: a file for a
    single input, else a folder; results of a folder keep their places below it. Without `out` a result lies beside its
    input.
    Raises InputError where there is no input, for two inputs with one result and for a result in place of an input.
    """
    found = [pair for given in inputs for pair in _expand(given, wanted)]
    if not found:
        raise InputError(f"no file to work on in {', '.join(inputs)}; wanted are {', '.join(sorted(wanted))}")
    suffix_of = suffix if callable(suffix) else lambda _: suffix
    single = len(found) == 1 and not os.path.isdir(inputs[0])
    file = out if out is not None and out.suffix and not os.path.isdir(out) else None
    if file is not None and not single and file.suffix == suffix_of(found[0][0]):
        raise InputError(f"-o {file} names a file, and several files or a folder were given; name a folder")
    real = {os.path.realpath(path) for path, _ in found}
    jobs: dict[str, Job] = {}  # by the real place of the result
    for path, root in found:
        folder = path.parent if out is None else out / path.parent.relative_to(root)
        target = file if file is not None and single else folder / f"{path.stem}{suffix_of(path)}"
        place = os.path.realpath(target)
        if place in real:
            raise InputError(f"the result of {path} would replace the input {target}; choose another place with -o")
        other, _ = jobs.setdefault(place, (path, target))
        if os.path.realpath(other) != os.path.realpath(path):
            raise InputError(f"{other} and {path} would both become {target}; work on them one at a time")
    return list(jobs.values())


def work(jobs: Sequence[Job], act: Callable[[Path, Path], str], out_is_folder: bool) -> None:
    """Do one thing for each job and print the line that it returns; errors are printed, and the rest goes on.

    Ends the program with exit code 2 when any file failed.
    """
    exit_on_sigterm()
    failed = 0
    with ProgressBar("files", len(jobs), enabled=len(jobs) > 1) as bar:
        for source, target in jobs:
            try:
                with _folder(target.parent) if out_is_folder else nullcontext():
                    done = act(source, target)
            except (NarrowsError, OSError) as error:
                failed += 1
                complain(error, source)
            except KeyboardInterrupt:
                complain("interrupted; nothing half-written is left")
                raise
            else:
                print(done, flush=True)
            bar.advance()
    if failed:
        if len(jobs) > 1:
            complain(f"{failed} of {len(jobs)} files failed")
        sys.exit(2)


def complain(error: object, source: Path | None = None) -> None:
    """One line on standard error. It names the file that was worked on, if the error itself does not."""
    line = " ".join(str(error).splitlines())
    if source is not None and shown(source) not in line:
        line = f"{shown(source)}: {line}"
    print(f"codec: {line}", file=sys.stderr, flush=True)


def contents(path: Path) -> bytes:
    """The bytes of an .nrw file. What is none is refused by its beginning, however long it is."""
    from narrows.bitstream import read_header

    with open_input(path) as file:
        start = file.read(LONGEST_HEADER)
        read_header(start)
        return start + file.read()


def header_of(path: Path) -> "StreamHeader":
    """The header of an .nrw file."""
    from narrows.bitstream import read_header

    with open_input(path) as file:
        return read_header(file.read(LONGEST_HEADER))


def shipped(name: str) -> str:
    """The model that a file names, if it comes with the package: no file decides on a folder or a download."""
    from narrows.checkpoints.index import models

    if name not in (entry.name for entry in models()):
        raise ModelError(f"made with {name!r}, no model of this package; give its folder or hub repository with -m")
    return name


class Stopwatch:
    """Measures the time since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self._start


def _expand(given: str, wanted: Collection[str]) -> list[tuple[Path, Path]]:
    """The files behind one argument, each with the folder that its place is counted from."""
    if not given:
        raise InputError("an empty name was given; give a file, a folder or a glob (. is the folder you are in)")
    path = Path(given)
    if os.path.isdir(path):
        return [(Path(file.path), path) for file in find_files(path, wanted)]
    if os.path.exists(path) or not glob.has_magic(given):
        return [(path, path.parent)]
    matches = [Path(file.path) for file in find_files(given)]
    return [(match, match.parent) for match in matches]


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Makes a folder with those above it; what was made and is still empty at the end goes again."""
    missing = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"the folder {folder} cannot be made: {error.strerror}; choose another with -o") from error
    try:
        yield
    finally:
        with suppress(OSError):
            for path in missing:
                path.rmdir()
