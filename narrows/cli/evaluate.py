"""`codec evaluate`: rate, quality and speed of codecs over a data set."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from narrows.cli.files import print_message, print_skipped
from narrows.cli.progress import ProgressBar, exit_on_sigterm
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
            help="Codec and settings; repeat for each codec: speech, speech@4,7, image@all, a folder, opus@6,8,12, "
            "aac, mp3, jpeg@20,50,80, webp, avif, x264@28, x265, svt-av1 and others.",
        ),
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="Folder of recordings, images or clips, or a file; repeat for more.")
    ] = None,
    out: Annotated[str | None, typer.Option("-o", "--out", help="Output folder for results and report.")] = None,
    metrics: Annotated[
        str | None,
        typer.Option(help="Comma-separated names; the first is the main metric. ? lists all. [default: by medium]"),
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Worker processes. [default: one per CPU]")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Number of items, the first by name. [default: all]")] = None,
    samples: Annotated[int, typer.Option(min=0, help="Number of items whose media the report includes.")] = 6,
    bit_flips: Annotated[
        str | None,
        typer.Option(metavar="P,P,...", help="Also decode with bit errors: comma-separated probabilities."),
    ] = None,
    speed: Annotated[bool, typer.Option(help="Measure speed and memory, one codec at a time.")] = True,
    max_seconds: Annotated[
        float | None,
        typer.Option(metavar="S", help="Use only the first S seconds of each recording or clip. [default: all]"),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="BEFORE AFTER", help="Compare two results.json instead; -o names a JSON file to write."),
    ] = None,
) -> None:
    """Measure rate, quality and speed with real files, and write results.json, tables and a report.

    Finished measurements are cached in OUT: run the same command again after an interruption to continue, or with more
    codecs, metrics or items to measure only what is new.
    """
    if metrics == "?":
        return _list_metrics()
    if compare is not None:
        if points or data:
            raise InputError("expected --compare without -m and --data, got both; run two commands")
        return _compare(*compare, Path(out) if out else None)
    if not points or not data or not all(data) or not out:
        raise InputError(
            "expected -m, --data and -o; type for example codec evaluate -m speech -m opus@6,12 --data DIR -o report"
        )
    from narrows.evaluation.evaluate import evaluate as run_evaluation
    from narrows.media.table import SUFFIXES

    print_skipped(data, SUFFIXES, "audio, image or video")
    exit_on_sigterm()
    probabilities = _numbers("--bit-flips", bit_flips)
    names = metrics.split(",") if metrics else None
    try:
        with ProgressBar("measured") as bar:
            results = run_evaluation(
                points,
                data,
                out,
                metrics=names,
                jobs=jobs or os.cpu_count() or 1,
                limit=limit,
                samples=samples,
                bit_flips=probabilities,
                speed=speed,
                max_seconds=max_seconds,
                progress=_Progress(bar),
            )
    except KeyboardInterrupt:
        print_message("interrupted; finished measurements are cached, run the same command again to continue")
        raise
    print(f"→ {Path(out) / 'index.html'}")
    _show(results)


class _Progress:
    """Updates the bar; the first call reports how many measurements were cached."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar, self._started = bar, False

    def __call__(self, done: int, total: int) -> None:
        self._bar.update(done, total)
        if not self._started and done:
            print_message(f"{done} of {total} measurements are cached")
        self._started = True


def _numbers(option: str, text: str | None) -> list[float]:
    try:
        return [float(part) for part in text.split(",")] if text else []
    except ValueError:
        raise InputError(
            f"expected comma-separated numbers for {option}, got {text!r}; give for example 0.001,0.01"
        ) from None


def _list_metrics() -> None:
    """Prints all metrics with their definitions; * marks the defaults."""
    from narrows.evaluation.by_medium import EVALUATIONS
    from narrows.evaluation.metrics import metric_of, metrics

    for name, found in metrics().items():
        for medium in (found.medium, *(["video"] if found.medium == "image" else [])):
            metric = metric_of(name, medium)
            default = "*" if name in EVALUATIONS[medium].metrics else " "
            print(f"{default} {medium:6} {name:20} {metric.better} is better. {metric.description}")


def _compare(before: Path, after: Path, out: Path | None) -> None:
    from rich.console import Console

    from narrows.evaluation.comparison import compare
    from narrows.evaluation.result_files import read_results
    from narrows.media.atomic import write_bytes

    comparison = compare(read_results(before), read_results(after))
    if out is not None:
        write_bytes(out, comparison.to_json().encode(), overwrite=True)
    Console().print(comparison.table())


def _show(results: "Results") -> None:
    """Prints one line for each operating point. Exit code 2 if items could not be read or a point could code none."""
    from narrows.media.table import MEDIA

    summaries = results.summaries()
    for summary in summaries:
        if summary.rate is None:
            print(f"{summary.point.name:16} could not code any item")
            continue
        values = "  ".join(f"{name} {value.mean:.4g}" for name, value in summary.metrics.items())
        if summary.codes is not None and summary.codes_used is not None:
            unit = MEDIA[results.medium].amount_unit
            values += f"  {summary.codes:.4g} codes/{unit}, {summary.codes_used:.0%} used"
            values += f", perplexity {summary.perplexity:.4g}"
        failed = sum(summary.failed.values())
        note = f"  ({failed} values missing)" if failed else ""
        print(f"{summary.point.name:16} {summary.rate.mean:8.3f} {results.rate_unit}  {values}{note}")
    for name, reason in (*results.skipped.items(), *results.unreadable.items()):
        print_message(f"skipped {name}: {reason}")
    if results.unreadable or any(summary.rate is None for summary in summaries):
        sys.exit(2)
