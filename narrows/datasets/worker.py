"""Tokenizes one shard: source items to tokenized items and failures, and these to files.

items ─ threads read, resample, cut ─▶ windows ─ batches through the network ─▶ tokenized items
                        │                                                           │
                        └─ failures ─▶ NAME.errors.jsonl, first ─▶ NAME.parquet ◀───┘ exists: the shard is done

A pure function of the shard and the job: the bytes of the files do not depend on the worker, on one kind of processor.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from narrows.checkpoints.load import load
from narrows.datasets.arrow_columns import MetaTypes
from narrows.datasets.base import DatasetInfo, Failure, Shard, SourceItem, TokenizedItem
from narrows.datasets.failures import write_failures
from narrows.datasets.read_ahead import ReadError, read_ahead
from narrows.datasets.shards import write_shard
from narrows.datasets.sources import open_item
from narrows.errors import InputError, NarrowsError, is_out_of_memory
from narrows.media.image.resize import Resize
from narrows.tokenizers.batches import BatchEncoder
from narrows.tokenizers.tokenizer import Tokenizer
from narrows.tokenizers.tokens import Latents, Tokens
from narrows.tokenizers.video_times import attached_times

READERS = 8  # threads that read for a GPU; a CPU needs one
Outcome = tuple[list[TokenizedItem], list[Failure], float]  # with seconds in the network


@dataclass(frozen=True)
class Job:
    """What all shards of a run have in common.

    Attributes:
        model: name or folder.
        info: of the tokenized data set.
        out: folder of the shards.
        device: as `load` takes it.
        batch: windows or images per call of the network; with 1, codes are those of `codec encode`.
        settings: as `Tokenizer.encode` takes them.
        background: colour that transparent images are flattened onto; None to make them failures.
        resize: makes images of one size; None to keep their sizes.
        meta_types: of the whole data set, so that all shards have the same columns.
    """

    model: str
    info: DatasetInfo
    out: Path
    device: str = "cpu"
    batch: int = 1
    settings: Mapping[str, float | None] = field(default_factory=dict)
    background: str | None = None
    resize: Resize | None = None
    meta_types: MetaTypes = field(default_factory=dict)

    def parquet(self, shard: Shard) -> Path:
        """The file of tokenized items, which exists once the shard is done."""
        return self.out / f"{shard.name}.parquet"

    def errors(self, shard: Shard) -> Path:
        """The file of failures, which exists where there are some."""
        return self.out / f"{shard.name}.errors.jsonl"

    def progress(self, shard: Shard) -> Path:
        """The file in which a worker that goes item by item records the index of the current item."""
        return self.out / f".narrows-{shard.name}.item"

    def current_item(self, shard: Shard) -> int | None:
        """The recorded index, after a worker was killed; None where there is none. Removes the record."""
        try:
            item = int(self.progress(shard).read_text())
            self.progress(shard).unlink()
        except (OSError, ValueError):
            return None
        return item


@dataclass(frozen=True)
class ShardResult:
    """Statistics of a finished shard.

    Attributes:
        shard: its index.
        items: tokenized items.
        failures: items that failed.
        amount: seconds of audio, or pixels, that were tokenized.
        seconds: time that the shard took.
        network_seconds: the part of it that was spent in the network.
    """

    shard: int
    items: int
    failures: int
    amount: float
    seconds: float
    network_seconds: float


def dataset_info(tokenizer: Tokenizer, settings: Mapping[str, float | None]) -> DatasetInfo:
    """What a tokenizer makes of a data set: codes where it has codebooks, else continuous latents.

    Raises InputError for settings that it does not take, and for a tokenizer whose codes alone cannot be decoded.
    """
    tokenizer.check_settings(settings)
    if tokenizer.needed:
        raise InputError(
            f"expected a model whose codes are all that is decoded, got {tokenizer.name}, whose tokens have "
            f"{', '.join(tokenizer.needed)} too; compress recordings to .nrw streams instead"
        )
    codec, radices, index = tokenizer.codec, tokenizer.codec.bottleneck.radices, None
    kind: Literal["codes", "latents"] = "codes" if tokenizer.codebooks else "latents"
    if kind == "codes":
        depth = tokenizer.check_codebooks(settings.get("codebooks"))
        index = None if tokenizer.entropy_model is None else tokenizer.quality_index(settings.get("quality"))
    else:
        depth = tokenizer.continuous.channels
    return DatasetInfo(
        medium=tokenizer.medium.name,
        kind=kind,
        model=tokenizer.name,
        fingerprint=tokenizer.fingerprint,
        radices=radices[:depth] if kind == "codes" else (),
        depth=depth,
        strides=codec.stride,
        channels=codec.channels,
        sample_rate=tokenizer.sample_rate,
        quality_index=index,
    )


class Worker:
    """Tokenizes shards of a job, one after another, with a model that is loaded once; on a CPU in one thread."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(1)
        self.job, self.tokenizer = job, load(job.model, job.device)
        self.tokenizer.check_model(job.info.model, job.info.fingerprint)

    def __call__(self, shard: Shard) -> ShardResult:
        """Tokenize a shard and write its files. Raises MediaError where they cannot be written."""
        begin = time.perf_counter()
        items, failures, network_seconds = self._one_by_one(shard) if shard.one_by_one else self._in_batches(shard)
        write_failures(self.job.errors(shard), failures)
        write_shard(self.job.parquet(shard), items, self.job.info, meta_types=self.job.meta_types, overwrite=True)
        amount = sum(item.extent.amount for item in items)
        seconds = time.perf_counter() - begin
        return ShardResult(shard.index, len(items), len(failures), amount, seconds, network_seconds)

    def _in_batches(self, shard: Shard) -> Outcome:
        encoding = self._encoding()
        try:
            items, failures = tokenize_items(
                shard.items, encoding, 1 if self.tokenizer.device.type == "cpu" else READERS
            )
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return self._one_by_one(shard)
        return items, failures, encoding.seconds

    def _one_by_one(self, shard: Shard) -> Outcome:
        """Item by item, each recorded before it is tokenized. An item that needs too much memory is a failure."""
        items, failures, seconds, record = list[TokenizedItem](), list[Failure](), 0.0, self.job.progress(shard)
        try:
            for index, item in enumerate(shard.items):
                if index in shard.skipped:
                    failures.append(Failure(item.key, shard.skipped[index]))
                    continue
                record.write_text(str(index))
                encoding = self._encoding()
                try:
                    found = tokenize_items([item], encoding, 1)
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    found = [], [Failure(item.key, f"not enough memory ({one_line(error)})")]
                items += found[0]
                failures += found[1]
                seconds += encoding.seconds
        finally:
            record.unlink(missing_ok=True)
        return items, failures, seconds

    def _encoding(self) -> BatchEncoder:
        job = self.job
        latents = job.info.kind == "latents"
        return self.tokenizer.batch_encoder(job.batch, latents, job.background, job.resize, **job.settings)


def run_shard(worker: Callable[[], Worker], shard: Shard) -> ShardResult:
    """The result of a shard. Every error becomes a NarrowsError, which stops the run."""
    try:
        return worker()(shard)
    except NarrowsError:
        raise
    except Exception as error:  # not caused by an item: no memory, a device that fails, a bug
        raise NarrowsError(
            f"{one_line(error)}; shard {shard.name} is not done, the others are kept: run the same command again"
        ) from error


def tokenize_items(
    items: Sequence[SourceItem], encoding: BatchEncoder, threads: int
) -> tuple[list[TokenizedItem], list[Failure]]:
    """Items to tokenized items and failures, both in order.

    Args:
        items: the items.
        encoding: fresh.
        threads: that read files.
    """
    started, failures = list[tuple[SourceItem, Callable[[], Tokens | Latents]]](), list[Failure]()
    readers = [partial(_pieces, encoding, item) for item in items]
    with closing(read_ahead(readers, threads)) as read:
        for item, pieces in zip(items, read, strict=True):
            try:
                started.append((item, encoding.add(pieces)))
            except ReadError as error:
                failures.append(Failure(item.key, one_line(error.__cause__)))
    encoding.finish()
    tokenized = list[TokenizedItem]()
    for item, result in started:
        found = result()
        values = found.codes.numpy() if isinstance(found, Tokens) else found.values.numpy().astype(np.float16)
        tokenized.append(TokenizedItem(item.key, values, found.extent, item.meta, item.number, attached_times(found)))
    return tokenized, failures


def _pieces(encoding: BatchEncoder, item: SourceItem) -> Iterator[Any]:
    return encoding.read(open_item(item))


def one_line(error: BaseException | None) -> str:
    """The message of an error in one line, with the class of errors that are not from this library."""
    text = " ".join(str(error).split())
    return text if isinstance(error, NarrowsError) and text else f"{type(error).__name__}: {text}".rstrip(": ")
