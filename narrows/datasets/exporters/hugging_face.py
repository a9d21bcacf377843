"""For Hugging Face datasets: Parquet files with the same columns, and a dataset card."""

import json
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa

from narrows.bitstream import codebook_sizes
from narrows.datasets.arrow_columns import MetaTypes, arrow_schema, merge_types
from narrows.datasets.base import DatasetInfo, position_unit
from narrows.datasets.reader import TokenData
from narrows.datasets.shards import write_shard
from narrows.media.atomic import write_bytes

CARD = """---
configs:
- config_name: default
  data_files: data/*.parquet
dataset_info:
  features:
{features}
tags:
- narrows
---

# Tokens of {model}

{count} items of {medium}, as {kind} of the model {model}, weights {fingerprint}.

| | |
|---|---|
| `key` | key of the item |
| `{kind}` | one list: {depth} values per position, position by position, one group of channels after another |
| {grid} | size of the grid of positions, of {strides} {unit} each |
| {extent} | size of the {item} |
{times}| `number` | place of the item in the source, from 0 |

{sizes}```python
from datasets import load_dataset

data = load_dataset("PATH OF THIS FOLDER")["train"]
```
"""


TIMES = "| `times`, `time_base` | times of frames of a variable rate, in 1 / `time_base` s; else empty, and 0 |\n"


def export_hugging_face(data: TokenData[Any], folder: Path, overwrite: bool) -> None:
    """data/NNNNN-of-MMMMM.parquet and README.md. Fields of `meta` whose types differ between files get one type."""
    (folder / "data").mkdir(exist_ok=True)
    types: MetaTypes = reduce(merge_types, (file.metadata.meta_types for file in data.files), {})
    for file in data.files:
        write_shard(folder / "data" / Path(file.path).name, file, data.info, meta_types=types, overwrite=overwrite)
    write_bytes(folder / "README.md", _card(data.info, types, len(data)).encode(), overwrite=overwrite)


def _card(info: DatasetInfo, types: MetaTypes, count: int) -> str:
    columns = arrow_schema(info, types)
    others = ("key", info.kind, "number", "meta", "time_base", "times")
    names = [f"`{name}`" for name in columns.names if name not in others]
    axes = len(info.strides)
    sizes = [str(size) for size in codebook_sizes(info.radices)]
    return CARD.format(
        features="\n".join(line for field in columns for line in _feature(field, "  ")),
        count=count,
        medium=info.medium,
        kind=info.kind,
        model=info.model,
        fingerprint=info.fingerprint,
        depth=info.depth,
        grid=", ".join(names[:axes]),
        extent=", ".join(names[axes:]),
        strides=" × ".join(map(str, info.strides)),
        unit=position_unit(info) + ("" if info.sample_rate is None else f" at {info.sample_rate} Hz"),
        item={"audio": "recording", "image": "image", "video": "clip, at `rate` / `rate_base` frames per second"}[
            info.medium
        ],
        times=TIMES if "times" in columns.names else "",
        sizes=f"Sizes of the codebooks: {', '.join(sizes)}.\n\n" if sizes else "",
    )


def _feature(field: Any, indent: str) -> list[str]:
    """Lines of YAML for a column, in the format of dataset cards."""
    first = f"{indent}- name: {_quoted(field.name)}"
    if pa.types.is_struct(field.type):
        return [first, f"{indent}  struct:", *(line for inner in field.type for line in _feature(inner, indent + "  "))]
    type_ = field.type.value_type if pa.types.is_list(field.type) else field.type
    name = {"double": "float64", "halffloat": "float16"}.get(str(type_), str(type_))
    return [first, f"{indent}  {'list' if pa.types.is_list(field.type) else 'dtype'}: {name}"]


def _quoted(name: str) -> str:
    """A string of YAML; every JSON string is one."""
    return name if name.isidentifier() else json.dumps(name)
