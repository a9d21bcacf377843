"""Which items are tokenized together, decided before any item is decoded.

items ─▶ sorted by location ─▶ bytes × amount per byte, from a sample ─▶ shards of about equal amounts
"""

import hashlib
import heapq
import json
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from narrows.datasets.base import Shard, SourceItem
from narrows.datasets.sources import open_item
from narrows.errors import InputError, MediaError
from narrows.media.files import Source
from narrows.media.folders import suffix
from narrows.media.medium import Medium
from narrows.media.table import MEDIA

SAMPLE = 32  # items of each suffix that are probed


def plan_shards(
    items: Iterable[SourceItem], minutes: float, medium: str, sizes: Sequence[int] | None = None
) -> list[Shard]:
    """Divide items into shards. Equal items give equal shards.

    Items are sorted by location, so that a file of many items is read from front to back and is in few shards. An item
    longer than a shard gets a shard of its own.

    The amount of an item is estimated: its bytes, times the amount per byte of up to 32 items with the same suffix (of
    the tar or table that contains it) that are probed; the lowest and the highest ratio are ignored. This is exact for
    items of one uncompressed encoding, about a tenth off for speech as FLAC, and up to a half off for mixed recordings
    as FLAC or Ogg.

    Args:
        items: in any order.
        minutes: approximate media per shard, above 0; for images a minute is 2^26 pixels.
        medium: name of the medium.
        sizes: items per shard as an earlier plan of these items had it; then nothing is estimated.

    Raises:
        InputError: for minutes out of range.
    """
    if not 0 < minutes < math.inf:
        raise InputError(f"expected shards of more than 0 minutes, got {minutes}")
    ordered = sorted(items, key=_order)
    sizes = _sizes(ordered, minutes, MEDIA[medium]) if sizes is None else sizes
    ends = [*accumulate(sizes)]
    parts = [ordered[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    return [Shard(index, len(parts), part) for index, part in enumerate(parts)]


def source_fingerprint(items: Sequence[SourceItem]) -> str:
    """SHA-256 of keys, metadata, order, and locations relative to the folder that contains all of them.

    Sizes and modification times are left out: unreadable files may be repaired, and copies have other times.
    """
    paths = [item.location.path for item in items]
    root = os.path.commonpath([os.path.dirname(path) for path in (min(paths), max(paths))]) if paths else ""
    encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256()
    for item in items:
        location = item.location
        place = [location.path[len(root) :], location.start, location.row, location.column]
        facts = [item.key, item.number, *place, dict(item.meta)]
        digest.update(encoder.encode(facts).encode() + b"\n")
    return digest.hexdigest()


def _sizes(ordered: Sequence[SourceItem], minutes: float, medium: Medium) -> list[int]:
    ratios = _ratios(ordered, medium)
    sizes = list[int]()
    filled = budget = minutes * medium.amount_per_minute
    for item in ordered:
        amount = max(medium.min_amount, (item.location.size or 0) * ratios[suffix(item.location.path)])
        if filled + amount > budget:
            sizes.append(0)
            filled = 0
        sizes[-1] += 1
        filled += amount
    return sizes


def _order(item: SourceItem) -> tuple[str, int, int, str]:
    location = item.location
    return location.path, location.start or 0, location.row or 0, item.key


def _ratios(items: Sequence[SourceItem], medium: Medium) -> dict[str, float]:
    """The amount per byte for each suffix."""
    by_suffix = defaultdict[str, list[SourceItem]](list)
    for item in items:
        by_suffix[suffix(item.location.path)].append(item)
    samples = {name: heapq.nsmallest(SAMPLE, group, _random) for name, group in by_suffix.items()}
    typical = medium.amount_per_byte
    return {name: amount_per_byte(sample, medium.amount_of) or typical for name, sample in samples.items()}


def _random(item: SourceItem) -> tuple[bytes, str]:
    """A pseudo-random sort key that is the same in every run."""
    return hashlib.sha256(item.key.encode("utf-8", "surrogatepass")).digest(), item.key


def amount_per_byte(sample: Iterable[SourceItem], amount_of: Callable[[Source], float]) -> float:
    """The amount per byte of items, without the lowest and the highest ratio.

    Args:
        sample: items; those that cannot be opened are left out.
        amount_of: returns the amount of one; raises MediaError.

    Returns:
        The amount; 0 where none can be opened.
    """
    probed: list[tuple[float, int]] = []
    for item in sorted(sample, key=_order):
        try:
            probed.append((amount_of(open_item(item)), item.location.size or 1))
        except MediaError:
            continue
    probed.sort(key=lambda pair: pair[0] / pair[1])
    probed = probed[1:-1] or probed  # a header may be wrong
    return sum(amount for amount, _ in probed) / sum(size for _, size in probed) if probed else 0.0
