"""For Megatron-LM: ids of all items in one .bin, and an .idx that tells where each begins.

.idx   "MMIDIDX" and two zeros, u64 version 1, u8 type of an id (8 uint16, 4 int32, 5 int64), u64 sequences,
       u64 documents + 1; int32 lengths of sequences, int64 places of them in bytes, int64 index of the first
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

from narrows.datasets.exporters.arrays import write_made
from narrows.datasets.reader import TokenData, vocabulary_of
from narrows.errors import InputError
from narrows.media.atomic import atomic_write, write_bytes
from narrows.tokenizers.ids import Pattern, flattened

TYPES = ((1 << 16, np.uint16, 8), (1 << 31, np.int32, 4), (1 << 63, np.int64, 5))


def megatron(data: TokenData[Any], folder: Path, overwrite: bool, pattern: Pattern = "interleaved") -> None:
    """tokens.bin, tokens.idx and vocabulary.json: a document of one sequence an item, with begin and end around it.

    Patterns of K rows are written column by column, begin and end K times. Raises InputError for latents.
    """
    if data.made.kind == "latents":
        raise InputError("ids were asked for, and these are real numbers; export them to npy, webdataset or hf")
    known = vocabulary_of(data.made)
    kind, code = next((kind, code) for limit, kind, code in TYPES if known.size <= limit)
    lengths = []
    with atomic_write(folder / "tokens.bin", overwrite=overwrite) as out:
        for file in data.files:
            for row in file:
                ids = known.add_begin_end(flattened(torch.from_numpy(np.array(row.values, order="C")), pattern, known))
                flat = ids.movedim(-1, 0).reshape(-1).numpy().astype(np.dtype(kind).newbyteorder("<"))
                lengths.append(len(flat))
                out.write(flat.tobytes())
    count, width = len(lengths), np.dtype(kind).itemsize
    places = np.cumsum([0, *lengths[:-1]], dtype="<i8")[:count] * width
    head = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, code, count, count + 1)
    arrays = [np.array(lengths, "<i4"), places.astype("<i8"), np.arange(count + 1, dtype="<i8")]
    write_bytes(folder / "tokens.idx", head + b"".join(each.tobytes() for each in arrays), overwrite=overwrite)
    facts = {"pattern": pattern, "size": known.size, "offsets": known.offsets, **asdict(known)}
    facts |= {"nothing": known.padding, "begin": known.begin, "end": known.end}
    write_bytes(folder / "vocabulary.json", (json.dumps(facts, indent=1) + "\n").encode(), overwrite=overwrite)
    write_made(data, folder, overwrite)
