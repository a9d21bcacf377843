"""The evaluation as a user asks for it: names of codecs and folders in, a folder of results and a report out."""

import os
import platform
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import narrows
from narrows.errors import InputError
from narrows.evaluation.media import MEDIA, items
from narrows.evaluation.metrics import DEFAULTS
from narrows.evaluation.points import points
from narrows.evaluation.report import write_report
from narrows.evaluation.results import Results
from narrows.evaluation.run import Plan, Progress, run


def evaluate(
    models: Sequence[str],
    data: Sequence[Path],
    out: Path,
    *,
    metrics: Sequence[str] | None = None,
    jobs: int = 1,
    limit: int | None = None,
    samples: int = 6,
    flips: Sequence[float] = (),
    speed: bool = True,
    progress: Progress = lambda done, total: None,
) -> Results:
    """Measure codecs at their settings over files, and write tables and a report into the folder `out`.

    models: as in `narrows.evaluation.points`. data: folders and files. metrics: names, those that are usual for the
    medium unless given. What was measured before is found again in out/kept; results with flipped bits of the point
    NAME are in out/flips/NAME. Raises what `points`, `items`, `run` and `write_report` raise.
    """
    asked = points(models)
    medium = MEDIA[asked[0].medium]
    if out.exists() and not out.is_dir():
        raise InputError(f"-o {out} is a file, a folder is wanted; choose another name")
    chosen = items(data, medium, limit, apart=out)
    setup = {
        "data": f"{len(chosen)} files of {', '.join(path.name or str(path) for path in data)}",
        "date": date.today().isoformat(),
        "versions": f"narrows {narrows.__version__}, Python {platform.python_version()}, {platform.system()}",
        "processor": f"{_processor()}, {os.cpu_count()} threads; speed on one of them",
    }
    plan = Plan(asked, chosen, metrics or DEFAULTS[medium.name], samples, flips, speed, setup)
    measured = run(plan, out / "kept", jobs, progress)
    measured.results.write(out, overwrite=True)
    for name, results in measured.flipped.items():
        results.write(out / "flips" / _file_name(name), overwrite=True)
    write_report(
        measured.results,
        out,
        measured.samples,
        bands=measured.bands,
        flipped=measured.flipped,
        codebooks=measured.codebooks,
        overwrite=True,
    )
    return measured.results


def _file_name(name: str) -> str:
    """The name of a point as that of a folder."""
    return re.sub(r"[^\w@.+-]", "_", name).lstrip(".") or "_"


def _processor() -> str:
    """Its name, as well as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
