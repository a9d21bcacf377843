"""The work of one shard: entries to rows and failures, and those to files.

entries ─ threads read, resample, cut ─▶ windows ─ batches through the network ─▶ rows
                        │                                                           │
                        └─ failures ─▶ NAME.errors.jsonl, first ─▶ NAME.parquet ◀───┘ its name marks the shard done

A pure function of the shard and the job: whoever does it, wherever and however often, the files are the same bit for
bit, on one kind of processor.
"""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from narrows.bitstream import AudioExtent, Extent, ImageExtent
from narrows.checkpoints.load import load
from narrows.datasets.base import Failure, Made, Row, Shard
from narrows.datasets.columns import Kinds
from narrows.datasets.encoding import Coded, Encoding, Pictures, Sounds
from narrows.datasets.prefetch import Unread, ahead
from narrows.datasets.shards import write_shard
from narrows.errors import InputError, NarrowsError
from narrows.media.atomic import write_bytes
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.image import ImageTokenizer

READERS = 8  # threads that read for a GPU; for a processor one does
Found = tuple[list[Row], list[Failure], float]  # and the seconds of the network


@dataclass(frozen=True)
class Job:
    """What all shards of a run have in common.

    model: name or folder. made: what it makes. out: folder of shards. batch: windows or pictures that go through the
    network together; with 1, codes are those of `codec encode`. codebooks, quality: as tokenizers take them. kinds: of
    all metas of the data set, so that every shard has the same columns.
    """

    model: str
    made: Made
    out: Path
    device: str = "cpu"
    batch: int = 1
    codebooks: int | None = None
    quality: float | None = None
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

    amount: seconds of sound or megapixels that were tokenized. wall, busy: seconds that it took, and those that the
    network worked of them.
    """

    shard: int
    items: int
    failures: int
    amount: float
    wall: float
    busy: float


def made_by(tokenizer: AudioTokenizer | ImageTokenizer, codebooks: int | None, quality: float | None) -> Made:
    """What a tokenizer makes of a data set.

    Codes where it has codebooks, real numbers else. Raises InputError for a number of codebooks or a quality that it
    does not have.
    """
    bottleneck, stride = tokenizer.codec.bottleneck, tokenizer.codec.stride
    name, fingerprint = tokenizer.name, tokenizer.fingerprint
    if not bottleneck.codebook_sizes:
        if codebooks is not None or quality is not None:
            raise InputError(f"codebooks or a quality given; {name} gives real numbers, leave them out")
        channels = tokenizer.continuous.channels
        if isinstance(tokenizer, AudioTokenizer):
            return Made("audio", "latents", name, fingerprint, (), channels, stride, tokenizer.sample_rate)
        return Made("image", "latents", name, fingerprint, (), channels, stride)
    books = tokenizer.check_codebooks(codebooks)
    radices = bottleneck.radices[:books]
    if isinstance(tokenizer, AudioTokenizer):
        if quality is not None:
            raise InputError(f"a quality was given; {name} codes sound, choose its rate by the number of codebooks")
        return Made("audio", "codes", name, fingerprint, radices, books, stride, tokenizer.sample_rate)
    setting = None
    if quality is not None or tokenizer.model is not None:
        setting = tokenizer.chosen(quality)
    return Made("image", "codes", name, fingerprint, radices, books, stride, setting=setting)


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
        amount = sum(_amount(row.extent) for row in rows)
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

    def _encoding(self) -> Encoding[Any]:
        job = self.job
        latents = job.made.kind == "latents"
        if isinstance(self.tokenizer, AudioTokenizer):
            return Sounds(self.tokenizer, job.batch, job.codebooks, latents)
        return Pictures(self.tokenizer, job.batch, job.codebooks, job.quality, latents)


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


def tokenized(shard: Shard, encoding: Encoding[Any], threads: int) -> tuple[list[Row], list[Failure]]:
    """Rows and failures of a shard, each in its order. A fault of an item is its own; the others are kept."""
    begun, failures = list[tuple[int, Callable[[], Coded]]](), list[Failure]()
    readers = [partial(encoding.read, entry) for entry in shard.entries]
    with closing(ahead(readers, threads)) as items:
        for place, things in enumerate(items):
            try:
                begun.append((place, encoding.take(things)))
            except Unread as error:
                failures.append(Failure(shard.entries[place].key, reason(error.__cause__)))
    encoding.finish()
    rows = list[Row]()
    for place, coded in begun:
        entry, (values, extent) = shard.entries[place], coded()
        rows.append(Row(entry.key, values, extent, entry.meta))
    return rows, failures


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


def _amount(extent: Extent) -> float:
    """Seconds, or megapixels."""
    if isinstance(extent, AudioExtent):
        return extent.seconds
    assert isinstance(extent, ImageExtent)
    return extent.height * extent.width / 1e6
