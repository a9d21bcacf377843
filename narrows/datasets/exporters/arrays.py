"""An array an item, in files of their own or in tars: codes (C, K, *grid), or latents (C, D, *grid) float16."""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from narrows.datasets.base import Row
from narrows.datasets.reader import TokenData
from narrows.media.atomic import atomic_write, write_bytes


def npy(data: TokenData[Any], folder: Path, overwrite: bool) -> None:
    """NNNNN-of-MMMMM/NUMBER.npy, and index.jsonl with a line an item: file, key, extent, meta."""
    lines = []
    for file in data.files:
        place = folder / Path(file.path).stem
        place.mkdir(exist_ok=True)
        for number, row in enumerate(file):
            path = place / f"{number:06d}.npy"
            write_bytes(path, _array(row), overwrite=overwrite)
            lines.append(json.dumps({"file": f"{place.name}/{path.name}"} | _facts(row), allow_nan=False) + "\n")
    write_bytes(folder / "index.jsonl", "".join(lines).encode(), overwrite=overwrite)
    write_made(data, folder, overwrite)


def webdataset(data: TokenData[Any], folder: Path, overwrite: bool) -> None:
    """NNNNN-of-MMMMM.tar with NUMBER.npy and NUMBER.json (key, extent, meta) an item; equal items give equal bytes.

    A name in a tar is a number and not the key: readers cut names at dots and slashes.
    """
    for file in data.files:
        path = folder / f"{Path(file.path).stem}.tar"
        with (
            atomic_write(path, overwrite=overwrite) as out,
            tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for name, content in _members(file):
                member = tarfile.TarInfo(name)  # time, owner and group are 0
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    write_made(data, folder, overwrite)


def write_made(data: TokenData[Any], folder: Path, overwrite: bool) -> None:
    """made.json: model, codebooks and whatever else all items share."""
    text = json.dumps(asdict(data.made), indent=1) + "\n"
    write_bytes(folder / "made.json", text.encode(), overwrite=overwrite)


def _members(rows: Iterable[Row]) -> Iterator[tuple[str, bytes]]:
    for number, row in enumerate(rows):
        yield f"{number:06d}.npy", _array(row)
        yield f"{number:06d}.json", json.dumps(_facts(row), allow_nan=False).encode()


def _facts(row: Row) -> dict[str, object]:
    return {"key": row.key, "extent": asdict(row.extent), "meta": dict(row.meta)}


def _array(row: Row) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(row.values), allow_pickle=False)
    return file.getvalue()
