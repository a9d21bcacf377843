"""An array per item, in .npy files or in tars: codes (S, K, *grid), or latents (S, D, *grid) float16."""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from narrows.datasets.base import TokenizedItem
from narrows.datasets.reader import TokenData
from narrows.media.atomic import atomic_write, write_bytes


def export_npy(data: TokenData[Any], folder: Path, overwrite: bool) -> None:
    """NNNNN-of-MMMMM/NUMBER.npy, and index.jsonl with a line per item: file, key, extent, times, meta."""
    lines = []
    for file in data.files:
        subfolder = folder / Path(file.path).stem
        subfolder.mkdir(exist_ok=True)
        for number, item in enumerate(file):
            path = subfolder / f"{number:06d}.npy"
            write_bytes(path, _array(item), overwrite=overwrite)
            lines.append(json.dumps({"file": f"{subfolder.name}/{path.name}"} | _facts(item), allow_nan=False) + "\n")
    write_bytes(folder / "index.jsonl", "".join(lines).encode(), overwrite=overwrite)
    write_info(data, folder, overwrite)


def export_webdataset(data: TokenData[Any], folder: Path, overwrite: bool) -> None:
    """NNNNN-of-MMMMM.tar with NUMBER.npy and NUMBER.json (key, extent, times, meta) per item.

    Equal items give equal bytes.
    Names in a tar are numbers instead of keys: readers split names at dots and slashes.
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
    write_info(data, folder, overwrite)


def write_info(data: TokenData[Any], folder: Path, overwrite: bool) -> None:
    """info.json: the DatasetInfo, with model and codebooks."""
    text = json.dumps(asdict(data.info), indent=1) + "\n"
    write_bytes(folder / "info.json", text.encode(), overwrite=overwrite)


def _members(items: Iterable[TokenizedItem]) -> Iterator[tuple[str, bytes]]:
    for number, item in enumerate(items):
        yield f"{number:06d}.npy", _array(item)
        yield f"{number:06d}.json", json.dumps(_facts(item), allow_nan=False).encode()


def _facts(item: TokenizedItem) -> dict[str, object]:
    times = {} if item.times is None else {"times": [str(time) for time in item.times]}  # "1/30": exact seconds
    return {"key": item.key, "extent": asdict(item.extent), **times, "meta": dict(item.meta)}


def _array(item: TokenizedItem) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(item.values), allow_pickle=False)
    return file.getvalue()
