"""The work of one shard: entries to rows and failures, and those to files.

entries ─ threads read, resample, cut ─▶ windows ─ batches through the network ─▶ rows
                        │                                                           │
                        └─ failures ─▶ NAME.errors.jsonl, first ─▶ NAME.parquet ◀───┘ its name marks the shard done

A pure function of the shard and the job: whoever does it, wherever and however often, the files are the same bit for
bit, on one kind of processor.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from narrows.checkpoints.load import load
from narrows.datasets.base import Entry, Failure, Made, Row, Shard
from narrows.datasets.columns import Kinds
from narrows.datasets.prefetch import Unread, ahead
from narrows.datasets.shards import write_shard
from narrows.datasets.sources import opened
from narrows.errors import NarrowsError
from narrows.media.atomic import write_bytes
from narrows.tokenizers.tokenizer import BatchEncoder, Tokenizer
from narrows.tokenizers.tokens import Latents, Tokens

READERS = 8  # threads that read for a GPU; for a processor one does
Found = tuple[list[Row], list[Failure], float]  # and the seconds of the network


@dataclass(frozen=True)
class Job:
    """What all shards of a run have in common.

    model: name or folder. made: what it makes. out: folder of shards. batch: windows or pictures that go through the
    network together; with 1, codes are those of `codec encode`. settings: as `Tokenizer.encode` takes them. kinds: of
    all metas of the data set, so that every shard has the same columns.
    """

    model: str
    made: Made
    out: Path
    device: str = "cpu"
    batch: int = 1
    settings: Mapping[str, float | None] = field(default_factory=dict)
    kinds: Kinds = field(default_factory=dict)

    def parquet(self, shard: Shard) -> Path:
        """The file of its rows, which is there when the shard is done."""
        return self.out / f"{shard.name}.parquet"

    def note(self, shard: Shard) -> Path:
        """The file in which a worker notes the place of the item that it is at, while it is careful."""
        return self.out / f".narrows-{shard.name}.at"

    def noted(self, shard: Shard) -> int | None:
        """The place that was noted, of a shard whose worker was killed; None before any. The note is removed."""
        try:
            place = int(self.note(shard).read_text())
            self.note(shard).unlink()
        except (OSError, ValueError):
            return None
        return place

    def errors(self, shard: Shard) -> Path:
        """The file of its failures, which is there when it has some."""
        return self.out / f"{shard.name}.errors.jsonl"


@dataclass(frozen=True)
class Done:
    """What came of a shard.

    amount: seconds of audio or pixels that were tokenized. wall, busy: seconds that it took, and those that the
    network worked of them.
    """

    shard: int
    items: int
    failures: int
    amount: float
    wall: float
    busy: float


def made_by(tokenizer: Tokenizer, settings: Mapping[str, float | None]) -> Made:
    """What a tokenizer makes of a data set: codes where it has codebooks, else continuous latents.

    Raises InputError for settings that it does not take.
    """
    tokenizer.check_settings(settings)
    codec, radices, index = tokenizer.codec, tokenizer.codec.bottleneck.radices, None
    kind: Literal["codes", "latents"] = "codes" if tokenizer.codebooks else "latents"
    if kind == "codes":
        channels = tokenizer.check_codebooks(settings.get("codebooks"))
        index = None if tokenizer.entropy_model is None else tokenizer.quality_index(settings.get("quality"))
    else:
        channels = tokenizer.continuous.channels
    return Made(
        medium=tokenizer.medium.name,
        kind=kind,
        model=tokenizer.name,
        fingerprint=tokenizer.fingerprint,
        radices=radices[:channels] if kind == "codes" else (),
        books=channels,
        strides=codec.stride,
        channels=codec.channels,
        rate=tokenizer.sample_rate,
        quality_index=index,
    )


class Worker:
    """Does shards of a job, one after another, with a model that is loaded once, on one thread of a processor."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(1)
        self.job, self.tokenizer = job, load(job.model, job.device)
        self.tokenizer.check_model(job.made.model, job.made.fingerprint)

    def __call__(self, shard: Shard) -> Done:
        """Tokenize a shard and write its files. Raises MediaError where they cannot be written."""
        begin = time.perf_counter()
        rows, failures, busy = self._careful(shard) if shard.careful else self._together(shard)
        _write_failures(self.job.errors(shard), failures)
        write_shard(self.job.parquet(shard), rows, self.job.made, kinds=self.job.kinds, overwrite=True)
        amount = sum(row.extent.amount for row in rows)
        wall = time.perf_counter() - begin
        return Done(shard.index, len(rows), len(failures), amount, wall, busy)

    def _together(self, shard: Shard) -> Found:
        encoding = self._encoding()
        try:
            rows, failures = tokenized(shard, encoding, 1 if self.tokenizer.device.type == "cpu" else READERS)
        except Exception as error:
            if not _is_want_of_memory(error):
                raise
            return self._careful(shard)
        return rows, failures, encoding.seconds

    def _careful(self, shard: Shard) -> Found:
        """Item by item, each noted before it is begun. One for which there is no memory is a failure."""
        rows, failures, busy, note = list[Row](), list[Failure](), 0.0, self.job.note(shard)
        try:
            for place, entry in enumerate(shard.entries):
                if place in shard.without:
                    failures.append(Failure(entry.key, shard.without[place]))
                    continue
                note.write_text(str(place))
                encoding = self._encoding()
                try:
                    found = tokenized(replace(shard, entries=[entry]), encoding, 1)
                except Exception as error:
                    if not _is_want_of_memory(error):
                        raise
                    found = [], [Failure(entry.key, f"there is no memory for it ({reason(error)})")]
                rows += found[0]
                failures += found[1]
                busy += encoding.seconds
        finally:
            note.unlink(missing_ok=True)
        return rows, failures, busy

    def _encoding(self) -> BatchEncoder:
        job = self.job
        return self.tokenizer.batch_encoder(job.batch, job.made.kind == "latents", **job.settings)


def attempt(worker: Callable[[], Worker], shard: Shard) -> Done:
    """What came of a shard. Raises NarrowsError, whatever it is that stops the run."""
    try:
        return worker()(shard)
    except NarrowsError:
        raise
    except Exception as error:  # no item's fault: no memory, a device that fails, a bug
        raise NarrowsError(
            f"{reason(error)}; shard {shard.name} is not done, the others are kept: run the same command again"
        ) from error


def tokenized(shard: Shard, encoding: BatchEncoder, threads: int) -> tuple[list[Row], list[Failure]]:
    """Rows and failures of a shard, each in its order. A fault of an item is its own; the others are kept."""
    begun, failures = list[tuple[int, Callable[[], Tokens | Latents]]](), list[Failure]()
    readers = [partial(_pieces, encoding, entry) for entry in shard.entries]
    with closing(ahead(readers, threads)) as items:
        for place, things in enumerate(items):
            try:
                begun.append((place, encoding.add(things)))
            except Unread as error:
                failures.append(Failure(shard.entries[place].key, reason(error.__cause__)))
    encoding.finish()
    rows = list[Row]()
    for place, coded in begun:
        entry, item = shard.entries[place], coded()
        values = item.codes.numpy() if isinstance(item, Tokens) else item.values.numpy().astype(np.float16)
        rows.append(Row(entry.key, values, item.extent, entry.meta))
    return rows, failures


def _pieces(encoding: BatchEncoder, entry: Entry) -> Iterator[Any]:
    """What the network is given of an entry."""
    return encoding.read(opened(entry))


def reason(error: BaseException | None) -> str:
    """In one line; with the kind of error where it is none of ours."""
    text = " ".join(str(error).split())
    return text if isinstance(error, NarrowsError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


def _is_want_of_memory(error: Exception) -> bool:
    """torch tells it of a processor by text alone."""
    told = isinstance(error, RuntimeError) and ("allocate memory" in str(error) or "not enough memory" in str(error))
    return told or isinstance(error, MemoryError | torch.OutOfMemoryError)


def _write_failures(path: Path, failures: Sequence[Failure]) -> None:
    if not failures:
        path.unlink(missing_ok=True)
        return
    lines = [json.dumps(asdict(failure), ensure_ascii=False) + "\n" for failure in failures]
    write_bytes(path, "".join(lines).encode("utf-8", "surrogateescape"), overwrite=True)
