"""`codec tokenize`: a data set to shards of tokens."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from narrows.cli.files import print_message, print_skipped
from narrows.cli.options import Background, Json
from narrows.cli.progress import ProgressBar, exit_on_sigterm
from narrows.errors import InputError

if TYPE_CHECKING:
    from narrows.datasets.engines.schedule import Engine
    from narrows.datasets.tokenize import Progress, Summary


MAX_REASONS = 3  # of failures that are named


def tokenize(
    source: Annotated[
        list[str],
        typer.Argument(help="Folders, globs, manifests, WebDataset tars or Parquet files of any medium."),
    ],
    model: Annotated[str, typer.Option("-m", "--model", help="Model name, checkpoint folder or hub repository.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of the shards; an interrupted run in it is resumed.")
    ],
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="local: processes on this machine. ray: actors on a cluster.")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of workers. [one per CPU, or per GPU with --device cuda]")
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(min=0, help="Instead of an engine: number of this process, from 0, of --world processes."),
    ] = None,
    world: Annotated[
        int | None, typer.Option(min=1, help="Number of processes that divide the data set, as Slurm starts them.")
    ] = None,
    shard_minutes: Annotated[float, typer.Option(help="Approximate minutes of media per shard.")] = 10,
    limit: Annotated[int | None, typer.Option(min=1, help="Number of items, the first by key. [all]")] = None,
    codebooks: Annotated[int | None, typer.Option(min=1, help="Number of codebooks to keep. [all]")] = None,
    quality: Annotated[
        float | None, typer.Option("-q", "--quality", help="Images: 1 to 8, where the model has several. [4]")
    ] = None,
    background: Background = None,
    size: Annotated[
        int | None, typer.Option(help="Images: height and width that they are resized to. [their own]")
    ] = None,
    crop: Annotated[
        Literal["center", "resize"] | None,
        typer.Option(help="center resizes the shorter side and keeps the centre, resize resizes both sides. [center]"),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Windows or images per call of the network. [1 on a CPU, 32 on a GPU]"),
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda (all GPUs), cuda:1.")] = "cpu",
    retry: Annotated[bool, typer.Option("--retry", help="Tokenize shards with failed items again.")] = False,
    as_json: Json = False,
) -> None:
    """Tokenize a data set: codec tokenize recordings/ -m speech -o tokens/

    Finished shards are kept: the same command resumes after an interruption. Items that cannot be read are listed in
    OUT/*.errors.jsonl, and make the exit code 2. Other columns of a manifest, and the subfolder of a file as its label,
    are kept as metadata.
    """
    exit_on_sigterm()
    try:
        chosen = _engine(engine, workers, rank, world, device)  # first: its workers import while this process does

        from narrows.datasets.tokenize import Task, tokenize

        task = Task(source, model, out, shard_minutes, limit, codebooks, quality, device, batch, background, size, crop)
        with ProgressBar("items") as bar:
            notice = (lambda _: None) if rank else print_message
            summary = tokenize(task, chosen, retry, lambda progress: _show_progress(bar, progress), notice)
    except (KeyboardInterrupt, SystemExit):
        print_message("interrupted; finished shards are kept, run the same command again to continue")
        raise
    if not rank:
        _print_skipped(source, summary.medium)
    if as_json:
        print(json.dumps(asdict(summary) | {"speed": summary.speed}), flush=True)
    else:
        print(_summary_line(summary, out), flush=True)
    if summary.failures:
        print_message(_failure_line(summary, out))
        sys.exit(2)


def _failure_line(summary: "Summary", out: Path) -> str:
    """How many items failed and why."""
    shown = list[str]()
    for reason in summary.reasons[:MAX_REASONS]:
        keys = ", ".join(map(repr, reason.keys)) + (", …" if reason.count > len(reason.keys) else "")
        shown.append(f"{reason.count} × {reason.reason} ({keys})")
    others = sum(reason.count for reason in summary.reasons[MAX_REASONS:])
    shown += [f"{others} × other reasons"] if others else []
    total = _count(summary.items + summary.failures, "item")
    return (
        f"{summary.failures} of {total} failed: {'; '.join(shown)}; see {out}/*.errors.jsonl; --retry tries them again"
    )


def _print_skipped(sources: Sequence[str], medium: str) -> None:
    """Print a line about the files of the source that a data set of this medium has no use for, if there are any."""
    from narrows.datasets.sources.listing import KINDS

    suffixes = {suffix for kind in KINDS[medium] for suffix in kind.suffixes}
    print_skipped(sources, suffixes, f"{medium} or data set")


def _engine(name: str, workers: int | None, rank: int | None, world: int | None, device: str) -> "Engine":
    if (rank is None) != (world is None):
        raise InputError("expected both --rank and --world or neither, got one of them")
    if rank is not None and world is not None:
        if workers is not None or name != "local":
            raise InputError("expected --rank without --workers and --engine, got both; a rank is one process")
        from narrows.datasets.engines.ranks import Rank

        return Rank(rank, world)
    if name == "ray":
        from narrows.datasets.engines.ray import Actors

        return Actors(workers or _default_workers(device))
    from narrows.datasets.engines.processes import Processes

    return Processes(workers or _default_workers(device))


def _default_workers(device: str) -> int:
    """The number of GPUs where the device is one, else of CPUs that this process may use."""
    if device.startswith("cuda"):
        import torch

        return max(1, torch.cuda.device_count()) if device == "cuda" else 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _summary_line(summary: "Summary", out: Path) -> str:
    from narrows.media.table import MEDIA

    medium = MEDIA[summary.medium]
    amount = f"{summary.amount / medium.total_divisor:.4g} {medium.total_unit}"
    speed = f"{medium.speed(summary.amount, summary.seconds):.3g} {medium.speed_unit}"
    done = f"{_count(summary.items, 'item')} in {_count(summary.shards, 'shard')}"
    if summary.skipped:
        done += f", {_count(summary.skipped, 'shard')} finished before"
    time = f"{amount} in {summary.seconds:.1f} s, {speed}, {summary.network_fraction:.0%} of the time in the network"
    return f"{out}: {done}; {time}"


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _show_progress(bar: ProgressBar, progress: "Progress") -> None:
    from narrows.media.table import MEDIA

    medium = MEDIA[progress.medium]
    status = f"{medium.speed(progress.amount, progress.seconds):.3g} {medium.speed_unit}"
    if progress.failures:
        status += f", {progress.failures} failed"
    bar.update(progress.items + progress.failures, progress.total, status)
