"""Tokenizes a whole data set: plans shards, records what they are in a manifest, and runs an engine for the rest.

OUT/manifest.json               model, options, inputs and plan: another run in the same folder must be the same
OUT/00007-of-00128.parquet      a finished shard
OUT/00007-of-00128.errors.jsonl its items that failed, {"key": ..., "reason": ...}, where there are some
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from narrows.bitstream import codebook_sizes
from narrows.checkpoints.load import load
from narrows.datasets.arrow_columns import MetaTypes, with_meta
from narrows.datasets.base import DatasetInfo, Shard, position_unit
from narrows.datasets.engines.processes import Processes
from narrows.datasets.engines.schedule import Engine
from narrows.datasets.failures import Reason, group_failures, read_failures
from narrows.datasets.plan import plan_shards, source_fingerprint
from narrows.datasets.sources import list_items
from narrows.datasets.worker import Job, ShardResult, dataset_info
from narrows.errors import InputError, MediaError
from narrows.media.atomic import write_bytes
from narrows.media.files import StrPath, quoted
from narrows.media.image.resize import Crop, Resize

FORMAT = 5
GPU_BATCH = 32  # windows or images per call of the network on a GPU; on a CPU 1 is the fastest


@dataclass(frozen=True)
class Task:
    """The arguments of `tokenize`.

    Args:
        source: a data set, as `list_items` reads it, or several.
        model: name, folder or hub repository.
        out: folder of the shards.
        minutes: approximate media per shard.
        limit: tokenize only the first so many items by key; None for all.
        codebooks, quality: as tokenizers take them.
        device: as `load` takes it.
        batch: windows or images per call of the network; None for 1 on a CPU and 32 on a GPU.
        background: colour that transparent images are flattened onto; None to make them failures.
        size: height and width that images are given before they are tokenized, see `Resize`; None to keep their sizes.
        crop: how they are given it: "center" (None means this) or "resize".

    Raises:
        InputError: for a batch below 1, a size or crop out of range, a crop without a size, and for what is no path.
    """

    source: StrPath | Sequence[StrPath]
    model: StrPath
    out: StrPath
    minutes: float = 10.0
    limit: int | None = None
    codebooks: int | None = None
    quality: float | None = None
    device: str = "cpu"
    batch: int | None = None
    background: str | None = None
    size: int | None = None
    crop: Crop | None = None

    def __post_init__(self) -> None:
        sources = [("source", source) for source in self.sources]
        for name, value in [*sources, ("model", self.model), ("out", self.out)]:
            if not isinstance(value, str | os.PathLike):
                raise InputError(f"expected {name} as a path, got {value!r}")
        if self.crop is not None and self.size is None:
            raise InputError(f"expected a size with a crop, got only the crop {self.crop!r}; give a size")
        self.resize  # noqa: B018 raises InputError
        if self.batch is not None and self.batch < 1:
            raise InputError(f"expected a batch of at least 1, got {self.batch}")

    @property
    def sources(self) -> Sequence[StrPath]:
        """All sources."""
        several = isinstance(self.source, Sequence) and not isinstance(self.source, str)
        return self.source if several else [self.source]  # type: ignore[return-value, list-item]

    @property
    def resize(self) -> Resize | None:
        """What gives images their size."""
        return None if self.size is None else Resize(self.size, self.crop or "center")


@dataclass(frozen=True)
class Summary:
    """What the folder contains of the shards of this engine, and what this run added.

    Attributes:
        medium: name of the medium.
        items, failures, shards: finished by now.
        reasons: of the failures, each with their number and the keys of the first three.
        skipped: shards that had been finished before.
        amount: seconds of audio, or pixels of images or frames, that this run tokenized.
        seconds: duration of this run, with planning and starting.
        worker_seconds: working time of all workers, added up.
        network_fraction: fraction of it that was spent in the network.
    """

    medium: str
    items: int
    failures: int
    reasons: Sequence[Reason]
    shards: int
    skipped: int
    amount: float
    seconds: float
    worker_seconds: float
    network_fraction: float

    @property
    def speed(self) -> float:
        """Seconds of audio, or pixels, per second."""
        return self.amount / self.seconds


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        medium: name of the medium.
        items, failures: done in this run.
        total: items that this run has to do.
        amount: seconds of audio or pixels that were tokenized.
        seconds: since the run began.
    """

    medium: str
    items: int
    total: int
    failures: int
    amount: float
    seconds: float


def tokenize(
    task: Task,
    engine: Engine | None = None,
    retry: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    notice: Callable[[str], None] = lambda _: None,
) -> Summary:
    """Tokenize the shards of a data set that are not finished yet. Items that cannot be read are recorded as failures.

        narrows.tokenize(narrows.datasets.Task("recordings/", "speech", "tokens/"))

    Args:
        task: what to tokenize, with which model.
        engine: runs the workers; None for one process on this machine. Processes need a script that calls this under
            `if __name__ == "__main__":`.
        retry: tokenize shards with failures again, as a whole.
        progress: called after each shard.
        notice: called before the work with a line, if the model is made for files and not for language models, or if
            a file outside of the folder of a manifest changes the keys of the others.

    Raises:
        InputError: for a folder of another run, and for source and options.
        ModelError: for the model.
        MediaError: where the output cannot be written.
        NarrowsError: for a shard whose workers were killed each time. Finished shards are kept; the same call resumes.
    """
    if not isinstance(task, Task):
        raise InputError(f"expected a Task, got {task!r}; make one with narrows.datasets.Task(source, model, out)")
    begin, engine = time.perf_counter(), Processes(1) if engine is None else engine
    sources, model, out = [os.fspath(source) for source in task.sources], os.fspath(task.model), Path(task.out)
    for source in sources:
        if os.path.isdir(source) and Path(os.path.realpath(out)).is_relative_to(os.path.realpath(source)):
            raise InputError(f"expected an output folder outside of {quoted(source)}, got {quoted(out)}; change -o")
    tokenizer = load(model, task.device)
    settings = {"codebooks": task.codebooks, "quality": task.quality}
    settings = {name: value for name, value in settings.items() if value is not None}
    info = dataset_info(tokenizer, settings)
    tokenizer.check_background(task.background)
    tokenizer.check_resize(task.resize)
    batch = task.batch or (1 if tokenizer.device.type == "cpu" else GPU_BATCH)
    source_items = list_items(sources, info.medium, task.limit, notice)
    meta_types: MetaTypes = reduce(with_meta, (item.meta for item in source_items if item.meta), {})
    job = Job(model, info, out, task.device, batch, settings, task.background, task.resize, meta_types)
    options = {"minutes": task.minutes, "batch": batch, "device": tokenizer.device.type, "background": task.background}
    options["resize"] = None if task.resize is None else asdict(task.resize)
    inputs = {"items": len(source_items), "inputs": source_fingerprint(source_items)}
    facts = {"format": FORMAT, **asdict(info), **options, **inputs}
    del tokenizer

    def planned(sizes: Sequence[int] | None = None) -> list[Shard]:
        return plan_shards(source_items, task.minutes, info.medium, sizes)

    selected = engine.select(planned(_claim(out, facts, lambda: [len(shard.items) for shard in planned()])))
    if retry:
        for shard in selected:
            if job.errors(shard).exists():
                job.parquet(shard).unlink(missing_ok=True)  # removed first: from now on the shard is not finished
    unfinished = [shard for shard in selected if not job.parquet(shard).exists()]
    results = list[ShardResult]()

    def report(result: ShardResult) -> None:
        results.append(result)
        items, failures = sum(each.items for each in results), sum(each.failures for each in results)
        amount, total = sum(each.amount for each in results), sum(len(shard.items) for shard in unfinished)
        progress(Progress(info.medium, items, total, failures, amount, time.perf_counter() - begin))

    for shard in unfinished:
        job.progress(shard).unlink(missing_ok=True)  # of a run that was killed
    if unfinished:
        if info.quality_index is not None:
            notice(_made_for_files(info))
        engine.run(unfinished, job, report)
    reasons = group_failures(failure for shard in selected for failure in read_failures(job.errors(shard)))
    failures = sum(reason.count for reason in reasons)
    worker_seconds = sum(result.seconds for result in results)
    return Summary(
        medium=info.medium,
        items=sum(len(shard.items) for shard in selected) - failures,
        failures=failures,
        reasons=reasons,
        shards=len(selected),
        skipped=len(selected) - len(unfinished),
        amount=sum(result.amount for result in results),
        seconds=time.perf_counter() - begin,
        worker_seconds=worker_seconds,
        network_fraction=sum(result.network_seconds for result in results) / worker_seconds if worker_seconds else 0.0,
    )


def _claim(out: Path, facts: Mapping[str, Any], plan: Callable[[], list[int]]) -> list[int]:
    """Items per shard: from the manifest, if there is one with these facts; else planned, and written to a manifest.

    Raises InputError for a folder of another run.
    """
    path = out / "manifest.json"
    try:
        while not path.is_file():
            if any(out.glob("*.parquet")):
                raise InputError(
                    f"expected manifest.json beside the shards in {quoted(out)}, got none; choose another "
                    "folder with -o"
                )
            text = json.dumps({**facts, "shards": plan()}, indent=1) + "\n"
            out.mkdir(parents=True, exist_ok=True)
            try:
                write_bytes(path, text.encode())
            except MediaError:  # another run was faster: its manifest counts
                if not path.is_file():
                    raise
        return _planned_before(path.read_text(encoding="utf-8"), facts, out)
    except (OSError, UnicodeDecodeError) as error:
        raise MediaError(f"{quoted(path)} cannot be read or made ({error}); choose another folder with -o") from error


def _planned_before(text: str, facts: Mapping[str, Any], out: Path) -> list[int]:
    """Items per shard in a manifest with these facts."""
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError):
        stored = None
    known = isinstance(stored, dict) and stored.get("format") == FORMAT
    difference, expected = "a manifest.json that this version cannot read", json.loads(json.dumps(facts))
    changed = next((name for name in expected if stored.get(name) != expected[name]), None) if known else None
    if changed is not None:
        difference = f"{changed} {json.dumps(stored.get(changed))[:60]}, not {json.dumps(expected[changed])[:60]}"
    elif known and _are_sizes(stored.get("shards"), expected["items"]):
        sizes: list[int] = stored["shards"]
        return sizes
    raise InputError(
        f"{quoted(out)} contains another run: {difference}; choose another folder with -o, or the same options"
    )


def _are_sizes(sizes: object, items: int) -> bool:
    return isinstance(sizes, list) and all(type(size) is int and size > 0 for size in sizes) and sum(sizes) == items


def _made_for_files(info: DatasetInfo) -> str:
    """A line about the codes of an entropy model."""
    shipped = {"image": "image-tokens", "audio": "speech"}.get(info.medium)
    positions, unit = " × ".join(map(str, info.strides)), position_unit(info)
    return (
        f"{info.model} is made for small files, not for language models: {info.depth} codes per {positions} {unit}, of "
        f"a vocabulary of {sum(codebook_sizes(info.radices)):,}; for these "
        + ("train a tokenizer" if shipped is None else f"use {shipped}, or train a tokenizer")
    )
