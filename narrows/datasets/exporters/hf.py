"""For Hugging Face datasets: the Parquet itself, with the same columns in every file, and a card."""

import json
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa

from narrows.bitstream import codebook_sizes
from narrows.datasets.base import Made
from narrows.datasets.columns import Kinds, merged, schema
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
| `key` | of the item |
| `{kind}` | one list: {books} numbers a position, position by position, one signal (channel of sound) after another |
| {grid} | the grid of positions, {stride} {unit} each |
| {extent} | of the item itself |

{sizes}```python
from datasets import load_dataset

data = load_dataset("PATH OF THIS FOLDER")["train"]
```
"""


def hf(data: TokenData[Any], folder: Path, overwrite: bool) -> None:
    """data/NNNNN-of-MMMMM.parquet and README.md. Fields of meta that differ in type from file to file get one type."""
    (folder / "data").mkdir(exist_ok=True)
    kinds: Kinds = reduce(merged, (file.about.kinds for file in data.files), {})
    for file in data.files:
        write_shard(folder / "data" / Path(file.path).name, file, data.made, kinds=kinds, overwrite=overwrite)
    write_bytes(folder / "README.md", _card(data.made, kinds, len(data)).encode(), overwrite=overwrite)


def _card(made: Made, kinds: Kinds, count: int) -> str:
    columns = schema(made, kinds)
    names = [f"`{name}`" for name in columns.names if name not in ("key", made.kind, "meta")]
    axes = len(made.strides)
    sizes = [str(size) for size in codebook_sizes(made.radices)]
    return CARD.format(
        features="\n".join(line for field in columns for line in _feature(field, "  ")),
        count=count,
        medium=made.medium,
        kind=made.kind,
        model=made.model,
        fingerprint=made.fingerprint,
        books=made.books,
        grid=", ".join(names[:axes]),
        extent=", ".join(names[axes:]),
        stride=" × ".join(map(str, made.strides)),
        unit="pixels" if made.rate is None else f"samples at {made.rate} Hz",
        sizes=f"Sizes of the codebooks: {', '.join(sizes)}.\n\n" if sizes else "",
    )


def _feature(field: Any, indent: str) -> list[str]:
    """Lines of YAML, as the card of a data set names types."""
    first = f"{indent}- name: {_quoted(field.name)}"
    if pa.types.is_struct(field.type):
        return [first, f"{indent}  struct:", *(line for each in field.type for line in _feature(each, indent + "  "))]
    kind = field.type.value_type if pa.types.is_list(field.type) else field.type
    name = {"double": "float64", "halffloat": "float16"}.get(str(kind), str(kind))
    return [first, f"{indent}  {'list' if pa.types.is_list(field.type) else 'dtype'}: {name}"]


def _quoted(name: str) -> str:
    """A string of YAML, which is one of JSON."""
    return name if name.isidentifier() else json.dumps(name)
