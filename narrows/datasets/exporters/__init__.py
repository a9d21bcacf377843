"""Exports token shards to the formats of other libraries. Exporters are functions of (data, folder, overwrite).

hf          Parquet with the same columns in all files, and a dataset card: datasets.load_dataset(FOLDER)
npy         one .npy file per item, and index.jsonl
webdataset  one tar file per shard, with NUMBER.npy and NUMBER.json for each item
lhotse      cuts and arrays in Lhotse's Shar format: CutSet.from_shar(in_dir="FOLDER/shar")
megatron    ids of all items in one .bin and one .idx file, for Megatron-LM and its forks

They are in hugging_face.py, arrays.py (npy, webdataset), lhotse.py and megatron.py.
"""

import os
import re
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from narrows.datasets.exporters.arrays import export_npy, export_webdataset
from narrows.datasets.exporters.hugging_face import export_hugging_face
from narrows.datasets.exporters.lhotse import export_lhotse
from narrows.datasets.exporters.megatron import export_megatron
from narrows.datasets.reader import TokenData
from narrows.errors import InputError, MediaError
from narrows.media.files import StrPath, quoted
from narrows.tokenizers.ids import Pattern, check_pattern

EXPORTERS: Mapping[str, Callable[[TokenData[Any], Path, bool], None]] = {
    "hf": export_hugging_face,
    "npy": export_npy,
    "webdataset": export_webdataset,
    "lhotse": export_lhotse,
    "megatron": export_megatron,
}
_NAME = r"\d{5,}-of-\d{5,}"
_SHARDS = {  # glob pattern and regular expression of names
    "hf": ("data/*", _NAME + r"\.parquet"),
    "npy": ("*", _NAME),
    "webdataset": ("*", _NAME + r"\.tar"),
    "lhotse": ("shar/*", r"(cuts\.\d{6,}\.jsonl\.gz|(codes|latents)\.\d{6,}\.tar)"),
}


def export(
    data: TokenData[Any], format: str, folder: StrPath, *, pattern: Pattern | None = None, overwrite: bool = False
) -> None:
    """Write all items to a folder. A file gets its name only when all of it is on the disk.

    Args:
        data: the items.
        format: name of a format, a key of `EXPORTERS`.
        folder: folder to write to; it is created if it does not exist.
        pattern: order of the ids, only for megatron; None: interleaved.
        overwrite: also write to a folder that is not empty. Shards of an earlier export in this format are then
            removed, and files with the same names are replaced.

    Raises:
        InputError: for an unknown format or pattern, a pattern with a format other than megatron, or a folder that
            holds the data.
        MediaError: for a folder that is not empty or cannot be written.
    """
    if format not in EXPORTERS:
        raise InputError(f"expected one of the formats {', '.join(EXPORTERS)}, got {format!r}")
    if pattern is not None and format != "megatron":
        raise InputError(f"expected no pattern for {format}, which has codes instead of ids, got {pattern!r}; omit it")
    if pattern is not None:
        check_pattern(pattern)
    target = Path(folder)
    if any(os.path.realpath(file.path).startswith(os.path.realpath(target) + os.sep) for file in data.files):
        raise InputError(
            f"expected a folder without the shards that are exported, got {quoted(folder)}; choose another"
        )
    try:
        target.mkdir(parents=True, exist_ok=True)
        full = any(target.iterdir())
    except OSError as error:
        raise MediaError(f"the folder {quoted(folder)} cannot be created: {error.strerror}; choose another") from error
    if full and not overwrite:
        raise MediaError(f"{quoted(folder)} is not empty; pass --force (overwrite=True in Python) or choose another")
    try:
        _remove_shards(target, format)
    except OSError as error:
        raise MediaError(f"the folder {quoted(folder)} cannot be cleared: {error.strerror}; choose another") from error
    exporter = EXPORTERS[format] if pattern is None else partial(export_megatron, pattern=pattern)
    exporter(data, target, overwrite)


def _remove_shards(folder: Path, format: str) -> None:
    """Remove shards of an earlier export, which readers would take for a part of this one."""
    if format not in _SHARDS:
        return
    pattern, name = _SHARDS[format]
    for path in folder.glob(pattern):
        if re.fullmatch(name, path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
