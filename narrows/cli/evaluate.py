"""`codec evaluate`: how good at how many bits, against what, how fast."""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from narrows.cli.files import complain
from narrows.errors import InputError

if TYPE_CHECKING:
    from narrows.evaluation.results import Results


def evaluate(
    points: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--model",
            metavar="NAME[@SETTINGS]",
            help="Codec and settings, again for each codec: speech, speech@4,7, image@all, a folder, opus@6,8,12, "
            "aac, mp3, jpeg@20,50,80, webp, avif, x265 and others.",
        ),
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="Folder of recordings or pictures, or a file; again for more.")
    ] = None,
    out: Annotated[str | None, typer.Option("-o", "--out", help="Folder of results and report.")] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Names, with commas between them; the first is the main one. ?: list them.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes. [default: one for each processor]")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many items, the first by name.")] = None,
    samples: Annotated[int, typer.Option(min=0, help="Items that can be heard or seen in the report.")] = 6,
    flips: Annotated[
        str | None, typer.Option(metavar="SHARES", help="Decode with flipped bits too: shares such as 0.001,0.01.")
    ] = None,
    speed: Annotated[bool, typer.Option(help="Measure speed and memory, one codec at a time.")] = True,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="BEFORE AFTER", help="Two results.json: what changed between them."),
    ] = None,
) -> None:
    """Measure rate and quality with real files, and write results.json, tables and a report.

    What is done is kept in OUT: the same command goes on where it was interrupted, and one with more codecs or items
    measures only what is new.
    """
    if metrics == "?":
        return _list()
    if compare is not None:
        if points or data:
            raise InputError("--compare and other work given; do one at a time")
        return _compare(*compare, Path(out) if out else None)
    if not points or not data or not all(data) or not out:
        raise InputError("-m, --data or -o is missing; type codec evaluate -m speech -m opus@6,12 --data DIR -o report")
    from narrows.evaluation.evaluate import evaluate as measure

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an end by exception, which ends the workers

    shares = _numbers("--flips", flips)
    names = metrics.split(",") if metrics else None
    try:
        with _Progress() as progress:
            results = measure(
                points,
                [Path(each) for each in data],
                Path(out),
                metrics=names,
                jobs=jobs or os.cpu_count() or 1,
                limit=limit,
                samples=samples,
                flips=shares,
                speed=speed,
                progress=progress,
            )
    except KeyboardInterrupt:
        complain("interrupted; what is done is kept, and the same command goes on from there")
        raise
    print(f"→ {Path(out) / 'index.html'}")
    _show(results)


class _Progress:
    """How many trials are done: a bar on a terminal; at the beginning a line, where some are kept."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        console = Console(stderr=True)
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task, self._begun = self._bar.add_task("measured", total=None), False

    def __enter__(self) -> "_Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total)
        if not self._begun and done:
            complain(f"{done} of {total} measurements are kept from before")
        self._begun = True


def _numbers(option: str, text: str | None) -> list[float]:
    try:
        return [float(part) for part in text.split(",")] if text else []
    except ValueError:
        raise InputError(f"{option} {text} given; numbers with commas between them are wanted") from None


def _list() -> None:
    """All metrics, what they are, and which are usual."""
    from narrows.evaluation.metrics import DEFAULTS, METRICS

    for name, one in METRICS.items():
        usual = "*" if name in DEFAULTS[one.medium] else " "
        print(f"{usual} {one.medium:6} {name:16} {one.better} is better. {one.about}")


def _compare(before: Path, after: Path, out: Path | None) -> None:
    from rich.console import Console

    from narrows.evaluation.comparison import compare
    from narrows.evaluation.results import Results
    from narrows.media.atomic import write_bytes

    comparison = compare(Results.read(before), Results.read(after))
    if out is not None:
        write_bytes(out, comparison.to_json().encode(), overwrite=True)
    Console().print(comparison.table())


def _show(results: "Results") -> None:
    """One line for each point."""
    for told in results.summary():
        if told.rate is None:
            print(f"{told.point.name:16} could not code any item")
            continue
        numbers = "  ".join(f"{name} {value.mean:.4g}" for name, value in told.metrics.items())
        failed = sum(told.failed.values())
        lacking = f"  ({failed} numbers lacking)" if failed else ""
        print(f"{told.point.name:16} {told.rate.mean:8.3f} {results.rate_unit}  {numbers}{lacking}")
    for name, reason in (*results.left_out.items(), *results.unread.items()):
        complain(f"left out {name}: {reason}")
    if results.unread or any(told.rate is None for told in results.summary()):
        sys.exit(2)
