"""Entries to shards."""

import hashlib
import os
from collections.abc import Sequence

from narrows.tokenizers.datasets.base import Entry, Shard


def shards(entries: Sequence[Entry], minutes: float, medium: str) -> list[Shard]:
    groups: list[list[Entry]] = [[]]
    size = 0
    for entry in entries:
        groups[-1].append(entry)
        size += os.path.getsize(entry.place.path)
        if size > minutes * 60 * 32_000:
            groups.append([])
            size = 0
    groups = [group for group in groups if group]
    return [Shard(index, len(groups), group) for index, group in enumerate(groups)]


def fingerprint(entries: Sequence[Entry]) -> str:
    return hashlib.sha256(repr([(e.key, e.place) for e in entries]).encode()).hexdigest()[:16]
