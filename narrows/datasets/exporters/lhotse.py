"""For Lhotse: the Shar format, which `lhotse.CutSet.from_shar(in_dir=...)` reads. It needs no Lhotse to write.

shar/cuts.000007.jsonl.gz  a cut per line: id, duration, the metadata as custom fields; its text as a supervision
shar/codes.000007.tar      for each cut, in the same order, ID.npy and ID.json, the description of the array
info.json                  what all items have in common

A cut is as long as its frames, which is up to one frame longer than the recording: Lhotse reads as many frames of an
array as the duration of its cut holds. The custom fields `samples` and `sampling_rate` are those of the recording.

Source: lhotse/shar/writers/{shar,array}.py, lhotse/shar/readers/lazy.py.
"""

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from narrows.datasets.base import DatasetInfo, Json, TokenizedItem
from narrows.datasets.exporters.arrays import write_info
from narrows.datasets.reader import TokenData
from narrows.errors import InputError
from narrows.media.atomic import atomic_write

TEXT = ("text", "speaker", "language", "gender")  # of a supervision, where the metadata have them
OWN = frozenset({"codes", "latents", "samples", "sampling_rate", "shard_origin", "shar_epoch", "dataloading_info"})


def export_lhotse(data: TokenData[Any], folder: Path, overwrite: bool) -> None:
    """Shards of cuts with the field `codes` (or `latents`): (F, K), or (F, S, K) where there are several groups.

    Raises InputError for images.
    """
    if data.info.medium != "audio":
        raise InputError(f"expected audio for lhotse, got {data.info.medium}; export to npy, webdataset or hf")
    (folder / "shar").mkdir(exist_ok=True)
    for number, file in enumerate(data.files):
        with (
            atomic_write(folder / "shar" / f"cuts.{number:06d}.jsonl.gz", overwrite=overwrite) as cuts,
            gzip.GzipFile("", "wb", fileobj=cuts, mtime=0) as lines,
            atomic_write(folder / "shar" / f"{data.info.kind}.{number:06d}.tar", overwrite=overwrite) as arrays,
            tarfile.open(fileobj=arrays, mode="w", format=tarfile.GNU_FORMAT) as tar,
        ):
            for item in file:
                _check_key(item.key)
                array = np.moveaxis(item.values, -1, 0)  # (F, S, K)
                array = np.ascontiguousarray(array[:, 0] if array.shape[1] == 1 else array)
                content = io.BytesIO()
                np.save(content, array, allow_pickle=False)
                facts = _array_facts(array.shape, data.info)
                _add(tar, f"{item.key}.npy", content.getvalue())
                _add(tar, f"{item.key}.json", json.dumps(facts).encode() + b"\n")
                lines.write(json.dumps(_cut(item, data.info), allow_nan=False).encode() + b"\n")
    write_info(data, folder, overwrite)


def _cut(item: TokenizedItem, info: DatasetInfo) -> dict[str, object]:
    extent: Any = item.extent
    channel = 0 if extent.channels == 1 else list(range(extent.channels))
    own = {"samples": extent.samples, "sampling_rate": extent.sample_rate}
    given = {name: item.meta.get(name) for name in TEXT}
    text = {name: _text(value) for name, value in given.items() if isinstance(value, str | int | float)}
    supervision = {
        "id": item.key,
        "recording_id": item.key,
        "start": 0.0,
        "duration": extent.samples / extent.sample_rate,
        "channel": channel,
    }
    return {
        "id": item.key,
        "start": 0.0,
        "duration": item.values.shape[-1] * _frame_shift(info),
        "channel": channel,
        "supervisions": [supervision | text] if text else [],
        "custom": _custom(item.meta) | own,
        "type": "MonoCut" if extent.channels == 1 else "MultiCut",
    }


def _custom(meta: Mapping[str, Json]) -> dict[str, Json]:
    """The metadata. Objects become JSON text: Lhotse would take some of them for recordings or arrays."""
    texts = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in meta.items()}
    return {f"{name}_" if name in OWN else name: value for name, value in texts.items()}


def _text(value: str | float) -> str:
    """A value as text, which the fields of a supervision are: a speaker 17 is '17'."""
    return value if isinstance(value, str) else json.dumps(value)


def _frame_shift(info: DatasetInfo) -> float:
    """Seconds per frame."""
    return info.strides[0] / (info.sample_rate or 1)


def _array_facts(shape: tuple[int, ...], info: DatasetInfo) -> dict[str, object]:
    """What Lhotse knows of an array: its shape, and the time of its first axis."""
    array = {"storage_type": "shar", "storage_path": "", "storage_key": "", "shape": list(shape)}
    return {"array": array, "temporal_dim": 0, "frame_shift": _frame_shift(info), "start": 0}


def _check_key(key: str) -> None:
    """Raise InputError for a key that Lhotse would read as another path."""
    path = PurePosixPath(f"{key}.npy")
    if str(path.parent / path.stem) != key or "\0" in key:
        raise InputError(f"expected keys like a/b for lhotse, which takes them as paths, got {key!r}; rename it")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # time, owner and group are 0
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
