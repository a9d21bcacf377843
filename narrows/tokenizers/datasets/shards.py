"""Rows to a file."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from narrows.media.atomic import write_bytes
from narrows.tokenizers.datasets.base import Made, Row


def write_shard(path: str | os.PathLike[str], rows: Iterable[Row], made: Made) -> None:
    told = [{"key": r.key, "values": r.values.tolist(), "extent": asdict(r.extent), "meta": dict(r.meta)} for r in rows]
    write_bytes(path, json.dumps([asdict(made), told]).encode(), overwrite=True)


def read_shard(path: str | os.PathLike[str]) -> list[dict[str, object]]:
    return json.loads(Path(path).read_bytes())[1]
