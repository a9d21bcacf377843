"""For Megatron-LM: ids of all items in one .bin, and an .idx with the position of each.

.idx   "MMIDIDX" and two zeros, u64 version 1, u8 type of an id (8 uint16, 4 int32, 5 int64), u64 sequences,
       u64 documents + 1; int32 lengths of sequences, int64 offsets of them in bytes, int64 index of the first
       sequence of each document, and the number of sequences. Little-endian.

Source: Megatron-LM, megatron/core/datasets/indexed_dataset.py.
"""

import json
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from narrows.datasets.exporters.arrays import write_info
from narrows.datasets.reader import TokenData
from narrows.errors import InputError
from narrows.media.atomic import atomic_write, write_bytes
from narrows.tokenizers.ids import Pattern, flatten_codes

TYPES = ((1 << 16, np.uint16, 8), (1 << 31, np.int32, 4), (1 << 63, np.int64, 5))


def export_megatron(data: TokenData[Any], folder: Path, overwrite: bool, pattern: Pattern = "interleaved") -> None:
    """tokens.bin, tokens.idx and vocabulary.json: a document of one sequence per item, with begin and end ids.

    Patterns of K rows are written column by column, with K begin and end ids. Raises InputError for latents.
    """
    if data.info.kind == "latents":
        raise InputError("expected codes for megatron, got continuous latents; export them to npy, webdataset or hf")
    vocabulary = data.vocabulary
    dtype, code = next((dtype, code) for limit, dtype, code in TYPES if vocabulary.size <= limit)
    lengths = []
    with atomic_write(folder / "tokens.bin", overwrite=overwrite) as out:
        for file in data.files:
            for item in file:
                ids = vocabulary.add_begin_end(
                    flatten_codes(torch.from_numpy(np.array(item.values, order="C")), pattern, vocabulary)
                )
                flat = ids.movedim(-1, 0).reshape(-1).numpy().astype(np.dtype(dtype).newbyteorder("<"))
                lengths.append(len(flat))
                out.write(flat.tobytes())
    count, width = len(lengths), np.dtype(dtype).itemsize
    offsets = np.cumsum([0, *lengths[:-1]], dtype="<i8")[:count] * width
    head = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, code, count, count + 1)
    arrays = [np.array(lengths, "<i4"), offsets.astype("<i8"), np.arange(count + 1, dtype="<i8")]
    write_bytes(folder / "tokens.idx", head + b"".join(array.tobytes() for array in arrays), overwrite=overwrite)
    facts = {"pattern": pattern, "size": vocabulary.size, "offsets": vocabulary.offsets, **asdict(vocabulary)}
    facts |= {"padding": vocabulary.padding, "begin": vocabulary.begin, "end": vocabulary.end}
    write_bytes(folder / "vocabulary.json", (json.dumps(facts, indent=1) + "\n").encode(), overwrite=overwrite)
    write_info(data, folder, overwrite)
