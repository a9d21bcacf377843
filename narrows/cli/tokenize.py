"""`codec tokenize`: a data set to shards of tokens."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from narrows.cli.files import complain
from narrows.cli.progress import ProgressBar, exit_on_sigterm
from narrows.errors import InputError

if TYPE_CHECKING:
    from narrows.datasets.engines.schedule import Engine
    from narrows.datasets.tokenize import Progress, Summary


def tokenize(
    source: Annotated[str, typer.Argument(help="Folder, glob, manifest, tars or Parquet files of sound or pictures.")],
    model: Annotated[str, typer.Option("-m", "--model", help="Model name, checkpoint folder or hub repository.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the shards; an interrupted run in it goes on.")],
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="local: processes of this machine. ray: actors of a cluster.")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="How many. [one for each processor, or for each GPU with --device cuda]")
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(min=0, help="Instead of an engine: this process is number so many, from 0, of --world."),
    ] = None,
    world: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the data set, as Slurm starts them.")
    ] = None,
    shard_minutes: Annotated[float, typer.Option(help="Media in a shard, about.")] = 10,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many items, the first by key.")] = None,
    codebooks: Annotated[int | None, typer.Option(min=1, help="How many of the model's to keep. [all]")] = None,
    quality: Annotated[
        float | None, typer.Option("-q", "--quality", help="Pictures, where the model has several.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Windows or pictures at once. [1 on a processor, 32 on a GPU]")
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda (all GPUs), cuda:1.")] = "cpu",
    retry: Annotated[bool, typer.Option("--retry", help="Make shards with failed items again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")] = False,
) -> None:
    """Tokenize a data set: codec tokenize recordings/ -m speech -o tokens/

    What is done is kept: the same command goes on after an interruption. Items that cannot be read are named in
    OUT/*.errors.jsonl, and make the exit code 2.
    """
    exit_on_sigterm()
    try:
        chosen = _engine(engine, workers, rank, world, device)  # first: its workers import while this process does

        from narrows.datasets.tokenize import Task, tokenize

        task = Task(source, model, out, shard_minutes, limit, codebooks, quality, device, batch)
        with ProgressBar("items") as bar:
            summary = tokenize(task, chosen, retry, lambda progress: _show_progress(bar, progress))
    except KeyboardInterrupt:
        complain("interrupted; nothing half-written is left, and the same command goes on")
        raise
    if as_json:
        print(json.dumps(asdict(summary) | {"speed": summary.speed}), flush=True)
    else:
        print(_told(summary, out), flush=True)
    if summary.failures:
        all_items = summary.items + summary.failures
        complain(f"{summary.failures} of {all_items} items failed, see {out}/*.errors.jsonl; --retry tries them again")
        sys.exit(2)


def _engine(name: str, workers: int | None, rank: int | None, world: int | None, device: str) -> "Engine":
    if (rank is None) != (world is None):
        raise InputError("one of --rank and --world given; both wanted, or none")
    if rank is not None and world is not None:
        if workers is not None or name != "local":
            raise InputError("--rank given with --workers or --engine; a rank is one process, leave the others out")
        from narrows.datasets.engines.ranks import Rank

        return Rank(rank, world)
    if name == "ray":
        from narrows.datasets.engines.ray import Actors

        return Actors(workers or _everywhere(device))
    from narrows.datasets.engines.processes import Processes

    return Processes(workers or _everywhere(device))


def _everywhere(device: str) -> int:
    """As many workers as there are processors or GPUs to work with."""
    if device.startswith("cuda"):
        import torch

        return max(1, torch.cuda.device_count()) if device == "cuda" else 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _told(summary: "Summary", out: Path) -> str:
    from narrows.media.table import MEDIA

    medium = MEDIA[summary.medium]
    amount = f"{summary.amount / medium.total_divisor:.4g} {medium.total_unit}"
    speed = f"{medium.speed(summary.amount, summary.wall):.3g} {medium.speed_unit}"
    done = f"{summary.items} items in {summary.shards} shards, {summary.skipped} of them from before"
    return f"{out}: {done}; {amount} in {summary.wall:.1f} s, {speed}, networks busy {summary.busy:.0%}"


def _show_progress(bar: ProgressBar, progress: "Progress") -> None:
    from narrows.media.table import MEDIA

    medium = MEDIA[progress.medium]
    status = f"{medium.speed(progress.amount, progress.seconds):.3g} {medium.speed_unit}"
    if progress.failures:
        status += f", {progress.failures} failed"
    bar.update(progress.items + progress.failures, progress.total, status)
