"""The loop of a command over its files, in this process or in several.

files ─▶ process(source, target) for each, `jobs` at a time ─▶ a line each ─▶ a line about what failed or was left out
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from traceback import clear_frames

from narrows.cli.files import InputOutput, print_line, print_message
from narrows.cli.progress import ProgressBar, exit_on_sigterm
from narrows.cli.threads import Threads
from narrows.errors import InputError, MediaError, NarrowsError, OutputExists, is_out_of_memory
from narrows.media.files import quoted

Process = Callable[[Path, Path, ProgressBar], str]
SHOWN = 3  # files that the last line names
GRACE = 5.0  # seconds that a worker gets to remove its files
DONE, FAILED, EXISTS = "done", "failed", "exists"  # the result of a file
_in_worker: tuple[Process, Threads] | None = None  # of a worker process


def process_files(
    files: Sequence[InputOutput],
    process: Process,
    *,
    make_folders: bool,
    jobs: int = 1,
    threads: int | None = None,
    skip_existing: bool = False,
    prepare: Callable[[], object] = lambda: None,
    left_out: str | None = None,
) -> None:
    """Process each file and print the line that is returned. Errors are printed, and the next file follows.

    For several files the last line says how many were done, failed or passed over. Exits with code 2 if any failed.

    Args:
        files: inputs and outputs.
        process: makes an output from an input, and returns a line about it; each process has a copy, by pickle.
        make_folders: make the folders of outputs where they are missing.
        jobs: number of processes.
        threads: CPU threads of each process; None for those that are free.
        skip_existing: pass over files whose output exists.
        prepare: called before the first file; what it raises ends the command.
        left_out: a line about files that were not among the inputs.

    Raises:
        InputError: for jobs or threads out of range.
    """
    if jobs < 1:
        raise InputError(f"expected 1 job or more, got {jobs}")
    waiting = [pair for pair in files if not (skip_existing and os.path.lexists(pair[1]))]
    jobs = max(1, min(jobs, len(waiting)))
    number = Threads(threads, jobs)
    exit_on_sigterm()
    if jobs == 1:
        number.set()
    prepare()
    results: dict[Path, str] = {}
    folders = {target.parent for _, target in waiting} if make_folders else set()
    with ProgressBar("files", len(waiting)) as bar, _without_empty_folders(folders):
        done = (
            _one_by_one(waiting, process, make_folders, number, bar)
            if jobs == 1
            else _in_processes(waiting, process, make_folders, jobs, number.choose())
        )
        try:
            with closing(done):
                for source, result in done:
                    results[source] = result
                    bar.advance()
        except (KeyboardInterrupt, SystemExit):
            print_message("interrupted; no half-written file is left")
            _print_summary(results, len(files), len(files) - len(waiting), left_out)
            raise
    _print_summary(results, len(files), len(files) - len(waiting), left_out)
    if any(result != DONE for result in results.values()):
        sys.exit(2)


def _print_summary(results: Mapping[Path, str], files: int, existing: int, left_out: str | None) -> None:
    """One line about several files: how many were done, failed or passed over."""
    facts = []
    if files > 1:
        facts.append(f"{sum(result == DONE for result in results.values())} of {files} files done")
        for wanted, text in ((FAILED, "failed"), (EXISTS, "not done for an existing output (--skip-existing)")):
            names = [quoted(source) for source, result in results.items() if result == wanted]
            if names:
                shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
                facts.append(f"{len(names)} {text}: {shown}")
    if existing:
        facts.append(f"{existing} passed over for an existing output")
    if left_out:
        facts.append(left_out)
    if len(facts) > 1 or existing or left_out:
        print_message("; ".join(facts))


def _one_by_one(
    files: Sequence[InputOutput], process: Process, make_folders: bool, threads: Threads, bar: ProgressBar
) -> Generator[tuple[Path, str]]:
    for source, target in files:
        threads.set()
        yield source, _process(process, source, target, make_folders, bar)


def _in_processes(
    files: Sequence[InputOutput], process: Process, make_folders: bool, jobs: int, threads: int
) -> Generator[tuple[Path, str]]:
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
    except BaseException:
        workers = multiprocessing.active_children()
        for worker in workers:
            worker.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        end = time.monotonic() + GRACE
        for worker in workers:
            worker.join(max(0.0, end - time.monotonic()))
            worker.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(process: Process, threads: int) -> None:
    """Ctrl-C is left to the parent, whose SIGTERM raises SystemExit here, so that half-written files are removed."""
    global _in_worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    exit_on_sigterm()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _in_worker = process, Threads(threads)


def _end_with_parent() -> None:
    """Runs in a thread. SIGTERM removes a half-written file; the pool then waits for work that never comes."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


def _process_in_worker(source: Path, target: Path, make_folders: bool) -> str:
    assert _in_worker is not None
    process, threads = _in_worker
    threads.set()
    try:
        with ProgressBar("", enabled=False) as bar:
            return _process(process, source, target, make_folders, bar)
    except SystemExit:  # after SIGTERM; the half-written file is removed by now, and the pool would wait for more work
        os._exit(143)


def _process(process: Process, source: Path, target: Path, make_folders: bool, bar: ProgressBar) -> str:
    """Process one file and print the line, or the error. Returns the result."""
    try:
        if make_folders:
            _make_folder(target.parent)
        line = process(source, target, bar)
    except (NarrowsError, OSError) as error:
        print_message(error, source)
        return EXISTS if isinstance(error, OutputExists) else FAILED
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print_message("not enough memory; make it smaller, or use a machine with more memory", source)
        return FAILED
    print_line(line)
    return DONE


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
    except BaseException as error:
        # An interrupt in the midst of opening a file leaves it to the frames of the traceback, whose end removes it.
        clear_frames(error.__traceback__)
        raise
    finally:
        for path in sorted(missing, reverse=True):  # what is in a folder comes before it
            with suppress(OSError):
                path.rmdir()
