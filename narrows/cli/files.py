"""Which files a command works on, where their results go, and the loop over them."""

import glob
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from pathlib import Path

from narrows.errors import InputError, MediaError, NarrowsError

Job = tuple[Path, Path]  # from, to


def plan(inputs: Sequence[str], out: Path | None, wanted: Collection[str], suffix: str) -> list[Job]:
    """Input files (files, folders, globs) with the place of each result.

    wanted: suffixes looked for in folders. suffix: of the results. out: a file for a single input, else a folder; results
    of a folder keep their places below it. Without `out` a result lies beside its input.
    Raises InputError for inputs that are not there and for two inputs with one result.
    """
    found = [pair for given in inputs for pair in _expand(given, wanted)]
    if not found:
        raise InputError(f"no file to work on in {', '.join(inputs)}; wanted are {', '.join(sorted(wanted))}")
    single = len(found) == 1 and not Path(inputs[0]).is_dir()
    if out is not None and single and not out.is_dir() and out.suffix:
        return [(found[0][0], out)]
    jobs = []
    for path, root in found:
        folder = path.parent if out is None else out / path.parent.relative_to(root)
        jobs.append((path, folder / f"{path.stem}{suffix}"))
    sources: dict[Path, Path] = {}
    for source, target in jobs:
        if target in sources:
            raise InputError(f"{sources[target]} and {source} would both become {target}; work on them one at a time")
        sources[target] = source
    return jobs


def work(jobs: Sequence[Job], act: Callable[[Path, Path], str], out_is_folder: bool) -> None:
    """Do one thing for each job and print the line that it returns; errors are printed, and the rest goes on.

    Ends the program with exit code 2 when any file failed.
    """
    failed = 0
    with _progress(len(jobs)) as advance:
        for source, target in jobs:
            try:
                if out_is_folder:
                    _make(target.parent)
                print(act(source, target), flush=True)
            except NarrowsError as error:
                failed += 1
                print(f"codec: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
            advance()
    if failed:
        if len(jobs) > 1:
            print(f"codec: {failed} of {len(jobs)} files failed", file=sys.stderr)
        sys.exit(2)


class Stopwatch:
    """Seconds since it was made, and how many seconds of media that is a second."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def speed(self, seconds: float) -> str:
        """`seconds` of media, done by now, as a multiple of real time."""
        return f"{seconds / max(time.perf_counter() - self._start, 1e-9):.0f} × real time"


def _expand(given: str, wanted: Collection[str]) -> list[tuple[Path, Path]]:
    """The files behind one argument, each with the folder that its place is counted from."""
    path = Path(given)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in wanted and file.is_file())
        return [(file, path) for file in files]
    if path.exists() or not glob.has_magic(given):
        return [(path, path.parent)]
    matches = sorted(Path(match) for match in glob.glob(given, recursive=True))
    return [(match, match.parent) for match in matches if match.is_file()]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"the folder {folder} cannot be made: {error.strerror}; choose another with -o") from error


def _progress(count: int) -> "nullcontext[Callable[[], None]] | _Bar":
    if count == 1 or not sys.stderr.isatty():
        return nullcontext(lambda: None)
    return _Bar(count)


class _Bar:
    def __init__(self, count: int) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True))
        self._task = self._bar.add_task("files", total=count)

    def __enter__(self) -> Callable[[], None]:
        self._bar.start()
        return lambda: self._bar.advance(self._task)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
