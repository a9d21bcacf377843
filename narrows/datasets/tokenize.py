"""A whole data set: entries, shards, a manifest that says what they are, and an engine for those not done yet.

OUT/manifest.json               model, options, inputs and plan: another run in the same folder must be the same
OUT/00007-of-00128.parquet      a shard that is done
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

from narrows.checkpoints.load import load
from narrows.datasets.base import Shard
from narrows.datasets.columns import Kinds, joined
from narrows.datasets.engines.schedule import Engine
from narrows.datasets.plan import fingerprint, shards
from narrows.datasets.sources import entries
from narrows.datasets.work import Done, Job, made_by
from narrows.errors import InputError, MediaError
from narrows.media.atomic import write_bytes
from narrows.media.files import quoted

FORMAT = 3
BATCH = 32  # windows or pictures at once on a GPU; on a processor one is the fastest


@dataclass(frozen=True)
class Task:
    """What is asked for.

    source: a data set, as `entries` reads it. model: name, folder or hub repository. minutes: of media in one shard.
    limit: only so many items, the first by key. codebooks, quality: as tokenizers take them. device: as for `load`.
    """

    source: str
    model: str
    out: Path
    minutes: float = 10.0
    limit: int | None = None
    codebooks: int | None = None
    quality: float | None = None
    device: str = "cpu"
    batch: int | None = None

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise InputError(f"a batch of {self.batch} given, at least 1 wanted")


@dataclass(frozen=True)
class Summary:
    """What is in the folder, of all shards of this engine's share, and what this run did of it.

    items, failures, shards: done by now. skipped: shards that were done before. amount: seconds of audio or pixels
    of this run; wall: its seconds, with planning and starting; working: those of all workers, added up; busy: the share
    of them that the network took.
    """

    medium: str
    items: int
    failures: int
    shards: int
    skipped: int
    amount: float
    wall: float
    working: float
    busy: float

    @property
    def speed(self) -> float:
        """Seconds of audio, or pixels, a second."""
        return self.amount / self.wall


@dataclass(frozen=True)
class Progress:
    """Where a run is: items and failures that it has, items that it shall have, and what was done of media."""

    medium: str
    items: int
    total: int
    failures: int
    amount: float
    seconds: float


def tokenize(
    task: Task, engine: Engine, retry: bool = False, progress: Callable[[Progress], None] = lambda _: None
) -> Summary:
    """Tokenize what is not done yet of a data set. retry: shards with failures are made again, whole.

    An item that cannot be read is a failure, and recorded. Raises InputError for a folder with something else in it,
    ModelError and InputError for model, source and options, MediaError where nothing can be written, and NarrowsError
    for a shard whose workers were killed again and again; what is done is kept, and the same call goes on.
    """
    begin = time.perf_counter()
    if os.path.isdir(task.source) and Path(os.path.realpath(task.out)).is_relative_to(os.path.realpath(task.source)):
        raise InputError(
            f"{quoted(task.out)} lies in {quoted(task.source)}, which is read; choose a folder outside with -o"
        )
    tokenizer = load(task.model, task.device)
    settings = {"codebooks": task.codebooks, "quality": task.quality}
    settings = {name: value for name, value in settings.items() if value is not None}
    made = made_by(tokenizer, settings)
    batch = task.batch or (1 if tokenizer.device.type == "cpu" else BATCH)
    found = entries(task.source, made.medium, task.limit)
    kinds: Kinds = reduce(joined, (entry.meta for entry in found if entry.meta), {})
    job = Job(task.model, made, task.out, task.device, batch, settings, kinds)
    options = {"minutes": task.minutes, "batch": batch, "device": tokenizer.device.type}
    facts = {"format": FORMAT, **asdict(made), **options, "items": len(found), "inputs": fingerprint(found)}
    del tokenizer

    def planned(sizes: Sequence[int] | None = None) -> list[Shard]:
        return shards(found, task.minutes, made.medium, sizes)

    every = planned(_claim(task.out, facts, lambda: [len(shard.entries) for shard in planned()]))
    mine = engine.share(every)
    if retry:
        for shard in mine:
            if job.errors(shard).exists():
                job.parquet(shard).unlink(missing_ok=True)  # first: from here on it is not done
    todo = [shard for shard in mine if not job.parquet(shard).exists()]
    reports = list[Done]()

    def report(done: Done) -> None:
        reports.append(done)
        items, failures = sum(each.items for each in reports), sum(each.failures for each in reports)
        amount, total = sum(each.amount for each in reports), sum(len(shard.entries) for shard in todo)
        progress(Progress(made.medium, items, total, failures, amount, time.perf_counter() - begin))

    for shard in todo:
        job.note(shard).unlink(missing_ok=True)  # of a run that was killed
    if todo:
        engine.run(todo, job, report)
    failures = sum(_failures(job.errors(shard)) for shard in mine)
    items = sum(len(shard.entries) for shard in mine) - failures
    working = sum(done.wall for done in reports)
    return Summary(
        made.medium,
        items,
        failures,
        len(mine),
        len(mine) - len(todo),
        sum(done.amount for done in reports),
        time.perf_counter() - begin,
        working,
        sum(done.busy for done in reports) / working if working else 0.0,
    )


def _claim(out: Path, facts: Mapping[str, Any], plan: Callable[[], list[int]]) -> list[int]:
    """How many entries each shard has: as the manifest says that is there, if it is of these facts, else as planned,
    and written into one. Raises InputError for a folder of another run."""
    path = out / "manifest.json"
    try:
        while not path.is_file():
            if any(out.glob("*.parquet")):
                raise InputError(f"{quoted(out)} has shards and no manifest.json; choose another folder with -o")
            text = json.dumps({**facts, "shards": plan()}, indent=1) + "\n"
            out.mkdir(parents=True, exist_ok=True)
            try:
                write_bytes(path, text.encode())
            except MediaError:  # another run was quicker: what it wrote counts
                if not path.is_file():
                    raise
        return _kept(path.read_text(encoding="utf-8"), facts, out)
    except (OSError, UnicodeDecodeError) as error:
        raise MediaError(f"{quoted(path)} cannot be read or made ({error}); choose another folder with -o") from error


def _kept(text: str, facts: Mapping[str, Any], out: Path) -> list[int]:
    """The sizes of shards in a manifest of these facts."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    known = isinstance(given, dict) and given.get("format") == FORMAT
    what, wanted = "its manifest.json is none of this version", json.loads(json.dumps(facts))
    other = next((name for name in wanted if given.get(name) != wanted[name]), None) if known else None
    if other is not None:
        what = f"{other} {json.dumps(given.get(other))[:60]}, not {json.dumps(wanted[other])[:60]}"
    elif known and _are_sizes(given.get("shards"), wanted["items"]):
        sizes: list[int] = given["shards"]
        return sizes
    raise InputError(f"{quoted(out)} holds another run: {what}; choose another folder with -o, or the same options")


def _are_sizes(sizes: object, items: int) -> bool:
    return isinstance(sizes, list) and all(type(size) is int and size > 0 for size in sizes) and sum(sizes) == items


def _failures(path: Path) -> int:
    try:
        with open(path, "rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0
