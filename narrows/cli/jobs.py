"""The loop of a command over its files, in this process or in several.

files ─▶ process(source, target) for each, `jobs` at a time ─▶ a line each ─▶ a line about what failed or was left out
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path

from narrows.cli.files import InputOutput, print_line, print_message
from narrows.cli.progress import ProgressBar, exit_on_sigterm
from narrows.cli.threads import Threads
from narrows.errors import InputError, MediaError, NarrowsError
from narrows.media.files import quoted

Process = Callable[[Path, Path, ProgressBar], str]
SHOWN = 3  # failed files that the last line names
_in_worker: tuple[Process, Threads] | None = None  # of a worker process


def process_files(
    files: Sequence[InputOutput],
    process: Process,
    *,
    make_folders: bool,
    jobs: int = 1,
    threads: int | None = None,
    prepare: Callable[[], object] = lambda: None,
    left_out: str | None = None,
) -> None:
    """Process each file and print the line that is returned. Errors are printed, and the next file follows.

    Exits with code 2 if any file failed.

    Args:
        files: inputs and outputs.
        process: makes an output from an input, and returns a line about it; each process has a copy, by pickle.
        make_folders: make the folders of outputs where they are missing.
        jobs: number of processes.
        threads: CPU threads of each process; None for those that are free.
        prepare: called before the first file; what it raises ends the command.
        left_out: a line about files that were not among the inputs.

    Raises:
        InputError: for jobs or threads below 1.
    """
    if jobs < 1:
        raise InputError(f"expected 1 job or more, got {jobs}")
    number = Threads(threads, min(jobs, len(files)))
    exit_on_sigterm()
    if jobs == 1:
        number.set()
    prepare()
    failed: list[Path] = []
    folders = {target.parent for _, target in files} if make_folders else set()
    with ProgressBar("files", len(files)) as bar, _without_empty_folders(folders):
        try:
            done = (
                _one_by_one(files, process, make_folders, number, bar)
                if jobs == 1 or len(files) == 1
                else _in_processes(files, process, make_folders, min(jobs, len(files)), number.choose())
            )
            for source, succeeded in done:
                failed += [] if succeeded else [source]
                bar.advance()
        except KeyboardInterrupt:
            print_message("interrupted; no half-written file is left")
            raise
    if failed and len(files) > 1:
        names = ", ".join(map(quoted, failed[:SHOWN])) + (", ..." if len(failed) > SHOWN else "")
        print_message(f"{len(failed)} of {len(files)} files failed: {names}")
    if left_out:
        print_message(left_out)
    if failed:
        sys.exit(2)


def _one_by_one(
    files: Sequence[InputOutput], process: Process, make_folders: bool, threads: Threads, bar: ProgressBar
) -> Iterator[tuple[Path, bool]]:
    for source, target in files:
        threads.set()
        yield source, _process(process, source, target, make_folders, bar)


def _in_processes(
    files: Sequence[InputOutput], process: Process, make_folders: bool, jobs: int, threads: int
) -> Iterator[tuple[Path, bool]]:
    """Each file as it is finished."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, _start_worker, (process, threads))
    try:
        sources = {pool.submit(_process_in_worker, *pair, make_folders): pair[0] for pair in files}
        for future in as_completed(sources):
            yield sources[future], future.result()
    except BrokenProcessPool as error:
        raise NarrowsError("a job was killed (possibly out of memory); run the command again with fewer --jobs") from (
            error
        )
    finally:
        for worker in multiprocessing.active_children() if sys.exc_info()[0] else ():
            worker.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(process: Process, threads: int) -> None:
    """Ctrl-C is left to the parent, whose SIGTERM raises SystemExit here, so that half-written files are removed."""
    global _in_worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    exit_on_sigterm()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _in_worker = process, Threads(threads)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _process_in_worker(source: Path, target: Path, make_folders: bool) -> bool:
    assert _in_worker is not None
    process, threads = _in_worker
    threads.set()
    with ProgressBar("", enabled=False) as bar:
        return _process(process, source, target, make_folders, bar)


def _process(process: Process, source: Path, target: Path, make_folders: bool, bar: ProgressBar) -> bool:
    """Process one file and print the line, or the error. Returns whether it succeeded."""
    try:
        if make_folders:
            _make_folder(target.parent)
        line = process(source, target, bar)
    except (NarrowsError, OSError) as error:
        print_message(error, source)
        return False
    print_line(line)
    return True


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"the folder {folder} cannot be made: {error.strerror}; choose another with -o") from error


@contextmanager
def _without_empty_folders(folders: set[Path]) -> Iterator[None]:
    """At the end, those of the folders and their parents that are new and empty are removed."""
    missing = {path for folder in folders for path in (folder, *folder.parents) if not os.path.exists(path)}
    try:
        yield
    finally:
        for path in sorted(missing, reverse=True):  # what is in a folder comes before it
            with suppress(OSError):
                path.rmdir()
