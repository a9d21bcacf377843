"""Which items are tokenized together, decided before any of them is decoded.

entries ─▶ in the order of their places ─▶ bytes × amount of a byte, from a sample ─▶ shards of about equal amounts
"""

import hashlib
import heapq
import json
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate

from narrows.datasets.base import Entry, Shard
from narrows.datasets.sources import opened
from narrows.errors import InputError, MediaError
from narrows.media.folders import suffix
from narrows.media.medium import Medium
from narrows.media.table import MEDIA

SAMPLE = 32  # items of a suffix that are probed


def shards(entries: Iterable[Entry], minutes: float, medium: str, sizes: Sequence[int] | None = None) -> list[Shard]:
    """Shards of about `minutes` of media each, of pictures that many times 2^26 pixels; equal for equal entries.

    sizes: how many entries each shard has, where an earlier plan of them says so; then files may have changed since.

    Entries are in the order of their places, so that a file of many is read from front to back and is in few shards. An
    item longer than a shard has one to itself.

    Amounts are guessed: bytes of the item, times the ratio of amount and bytes of 32 items that are probed for each
    suffix (of a tar or a table: its own), the lowest and the highest left out. Exact where all items have one encoding
    without compression; about a tenth off for speech as FLAC, up to a half for recordings of all sorts as FLAC or Ogg.
    Raises InputError unless minutes are above 0 and finite.
    """
    if not 0 < minutes < math.inf:
        raise InputError(f"shards of {minutes} minutes asked for, more than 0 are wanted")
    ordered = sorted(entries, key=_place)
    sizes = _sizes(ordered, minutes, MEDIA[medium]) if sizes is None else sizes
    ends = [*accumulate(sizes)]
    parts = [ordered[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    return [Shard(index, len(parts), part) for index, part in enumerate(parts)]


def _sizes(ordered: Sequence[Entry], minutes: float, medium: Medium) -> list[int]:
    ratios = _ratios(ordered, medium)
    sizes = list[int]()
    filled = budget = minutes * medium.amount_per_minute
    for entry in ordered:
        amount = max(medium.min_amount, (entry.place.size or 0) * ratios[suffix(entry.place.path)])
        if filled + amount > budget:
            sizes.append(0)
            filled = 0
        sizes[-1] += 1
        filled += amount
    return sizes


def fingerprint(entries: Sequence[Entry]) -> str:
    """SHA-256 of keys, metas, and places below the folder that holds all of them.

    Sizes and times of files are left out: what could not be read may be mended, and copies are of other times.
    """
    paths = [entry.place.path for entry in entries]
    root = os.path.commonpath([os.path.dirname(path) for path in (min(paths), max(paths))]) if paths else ""
    encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256()
    for entry in entries:
        place = entry.place
        facts = [entry.key, place.path[len(root) :], place.start, place.row, place.column, dict(entry.meta)]
        digest.update(encoder.encode(facts).encode() + b"\n")
    return digest.hexdigest()


def _place(entry: Entry) -> tuple[str, int, int, str]:
    place = entry.place
    return place.path, place.start or 0, place.row or 0, entry.key


def _ratios(entries: Sequence[Entry], medium: Medium) -> dict[str, float]:
    """The amount of a byte, for each suffix."""
    of_suffix = defaultdict[str, list[Entry]](list)
    for entry in entries:
        of_suffix[suffix(entry.place.path)].append(entry)
    return {name: _ratio(heapq.nsmallest(SAMPLE, group, _lot), medium) for name, group in of_suffix.items()}


def _lot(entry: Entry) -> tuple[bytes, str]:
    """A number drawn for the entry, the same in every run."""
    return hashlib.sha256(entry.key.encode("utf-8", "surrogatepass")).digest(), entry.key


def _ratio(sample: Iterable[Entry], medium: Medium) -> float:
    told: list[tuple[float, int]] = []
    for entry in sorted(sample, key=_place):
        try:
            told.append((medium.amount_of(opened(entry)), entry.place.size or 1))
        except MediaError:
            continue
    told.sort(key=lambda pair: pair[0] / pair[1])
    told = told[1:-1] or told  # a header may lie
    return sum(amount for amount, _ in told) / sum(size for _, size in told) if told else medium.amount_per_byte
