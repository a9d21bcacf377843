"""Token shards in the formats that trainers read. Each exporter is a function of the data and a folder.

hf          Parquet with the same columns in all files, and a card: datasets.load_dataset(FOLDER)
npy         a .npy an item, and index.jsonl
webdataset  a tar a shard, with NUMBER.npy and NUMBER.json for an item
megatron    one .bin of ids and one .idx, for Megatron-LM and what came of it
"""

import os
import re
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from narrows.datasets.exporters.arrays import npy, webdataset
from narrows.datasets.exporters.hf import hf
from narrows.datasets.exporters.megatron import megatron
from narrows.datasets.reader import TokenData
from narrows.errors import InputError, MediaError
from narrows.media.files import StrPath, quoted
from narrows.tokenizers.ids import Pattern

EXPORTERS: Mapping[str, Callable[[TokenData[Any], Path, bool], None]] = {
    "hf": hf,
    "npy": npy,
    "webdataset": webdataset,
    "megatron": megatron,
}
_SHARDS = {"hf": ("data/*", ".parquet"), "npy": ("*", ""), "webdataset": ("*", ".tar")}  # places and suffixes


def export(
    data: TokenData[Any], kind: str, folder: StrPath, *, pattern: Pattern | None = None, overwrite: bool = False
) -> None:
    """Write all items into a folder, which is made, in one of the formats of `EXPORTERS`.

    pattern: of ids, which only megatron has; interleaved unless given. A file appears when all of it is on the disk.

    Raises InputError for another format and a folder that holds the data itself, MediaError where the folder has
    something in it (with `overwrite`, shards of an earlier export of this kind are removed, and files of the same names
    replaced) or cannot be written.
    """
    if kind not in EXPORTERS:
        raise InputError(f"format {kind!r} given, {', '.join(EXPORTERS)} wanted")
    if pattern is not None and kind != "megatron":
        raise InputError(f"a pattern of ids given; {kind} keeps codes as they are, leave it out")
    place = Path(folder)
    if any(os.path.realpath(file.path).startswith(os.path.realpath(place) + os.sep) for file in data.files):
        raise InputError(f"{quoted(folder)} holds the shards that are to be exported; choose a folder apart from them")
    try:
        place.mkdir(parents=True, exist_ok=True)
        full = any(place.iterdir())
    except OSError as error:
        raise MediaError(f"the folder {quoted(folder)} cannot be made: {error.strerror}; choose another") from error
    if full and not overwrite:
        raise MediaError(f"{quoted(folder)} is not empty; pass --force (overwrite=True in Python) or choose another")
    try:
        _remove_shards(place, kind)
    except OSError as error:
        raise MediaError(f"the folder {quoted(folder)} cannot be cleared: {error.strerror}; choose another") from error
    act = EXPORTERS[kind] if pattern is None else partial(megatron, pattern=pattern)
    act(data, place, overwrite)


def _remove_shards(folder: Path, kind: str) -> None:
    """What an earlier export of this kind left, which readers would take for a part of this one."""
    if kind not in _SHARDS:
        return
    places, suffix = _SHARDS[kind]
    for path in folder.glob(places):
        if re.fullmatch(rf"\d{{5,}}-of-\d{{5,}}{re.escape(suffix)}", path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
