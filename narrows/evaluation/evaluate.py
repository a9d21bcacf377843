"""Evaluates codecs by name on folders of files, and writes a folder with results and a report."""

import os
import platform
import re
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from math import inf
from pathlib import Path

from narrows.errors import InputError
from narrows.evaluation.by_medium import EVALUATIONS, Evaluation
from narrows.evaluation.items import find_items
from narrows.evaluation.points import operating_points
from narrows.evaluation.report import write_report
from narrows.evaluation.result_files import write_results
from narrows.evaluation.results import Results
from narrows.evaluation.run import Plan, ProgressCallback, run
from narrows.media.files import StrPath


def evaluate(
    models: Sequence[str],
    data: Sequence[StrPath],
    out: StrPath,
    *,
    metrics: Sequence[str] | None = None,
    jobs: int = 1,
    limit: int | None = None,
    samples: int = 6,
    bit_flips: Sequence[float] = (),
    speed: bool = True,
    max_seconds: float | None = None,
    progress: ProgressCallback = lambda done, total: None,
) -> Results:
    """Measures rate, quality and speed of codecs over files, and writes results and a report.

    Finished measurements are cached in out/cache; later calls do not repeat them.

    Args:
        models: Codecs with their settings, see `narrows.evaluation.points`; all of one medium.
        data: Folders and files.
        out: Folder to write; results with bit flips of the point NAME go to out/bit-flips/NAME.
        metrics: Names of metrics; the defaults of the medium if None.
        jobs: Number of worker processes.
        limit: Number of items to use, the first by name; None for all.
        samples: Number of items whose media the report includes.
        bit_flips: Bit error probabilities between 0 and 1.
        speed: Whether to measure speed.
        max_seconds: Length of the beginning of each recording or clip that is evaluated; None for the whole.
        progress: Called with the numbers of finished and of all measurements.

    Returns:
        The results without bit flips.

    Raises:
        NarrowsError: See `operating_points`, `find_items`, `run` and `write_report`.
    """
    for name, value in {"models": models, "data": data}.items():
        if isinstance(value, str | os.PathLike):  # a string is a sequence too, of letters
            raise InputError(f"expected {name} as a list, got {value!r}; put it in brackets")
    points = operating_points(models)
    evaluation = EVALUATIONS[points[0].medium]
    out, paths = Path(out), [Path(path) for path in data]
    existing = next((path for path in (out, *out.parents) if path.exists()), out)
    if existing.exists() and not existing.is_dir():
        raise InputError(f"expected a folder for -o, got the file {existing}; choose another name")
    _check_seconds(max_seconds, evaluation)
    items = find_items(paths, evaluation.medium, limit, exclude=out, seconds=max_seconds)
    part = "" if max_seconds is None else f", the first {max_seconds:g} s of each"
    setup = {
        "data": f"{len(items)} files of {', '.join(path.name or str(path) for path in paths)}{part}",
        "date": date.today().isoformat(),
        "versions": f"narrows {version('narrows')}, Python {platform.python_version()}, {platform.system()}",
        "processor": f"{_processor()}, {os.cpu_count()} threads; speed in one thread",
    }
    plan = Plan(points, items, metrics or evaluation.metrics, samples, bit_flips, speed, setup)
    output = run(plan, out / "cache", jobs, progress)
    write_results(output.results, out, overwrite=True)
    for name, results in output.bit_flips.items():
        write_results(results, out / "bit-flips" / _folder_name(name), overwrite=True)
    write_report(
        output.results,
        out,
        output.samples,
        bands=output.bands,
        bit_flips=output.bit_flips,
        overwrite=True,
    )
    return output.results


def _check_seconds(seconds: float | None, evaluation: Evaluation) -> None:
    """Raises InputError unless the length is None, or above 0 for a medium that has a duration."""
    if seconds is None:
        return
    if not evaluation.timed:
        raise InputError(f"expected no --max-seconds for {evaluation.medium.files}, got {seconds:g}; leave it out")
    if not 0 < seconds < inf:
        raise InputError(f"expected --max-seconds above 0, got {seconds:g}; give for example 3")


def _folder_name(point: str) -> str:
    """The name of an operating point as a folder name."""
    return re.sub(r"[^\w@.+-]", "_", point).lstrip(".") or "_"


def _processor() -> str:
    """Name of the CPU, as far as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
