"""Bytes of pictures, encoded without effort, against what the tables and the densities of a model say of them.

    python benchmarks/image_rates.py --model image --data DIR

Prints one JSON object for each picture and quality, and one for each quality. Rate and quality beside other codecs are
what `codec evaluate` measures.
"""

import argparse
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from common import emit, fail, run, show

import narrows
from narrows import ImageTokenizer, Tokens
from narrows.bitstream import IndexedTables
from narrows.bitstream.indexed import IndexedCoder
from narrows.codecs.bottlenecks.entropy.base import ZERO, Stage, run_stages
from narrows.evaluation.media import MEDIA, find_items
from narrows.media import image

RATIOS = ("file_over_tables", "file_over_densities")


def main() -> None:
    """MetricInfo a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="image", help="name or folder (default: image)")
    parser.add_argument("--data", type=Path, required=True, help="folder of pictures, searched to its depth")
    parser.add_argument("--quality", type=float, nargs="+", default=list(range(1, 9)), help="(default: 1 to 8)")
    parser.add_argument("--limit", type=int, help="only the first pictures by name")
    arguments = parser.parse_args()
    tokenizer = narrows.load(arguments.model)
    if not isinstance(tokenizer, ImageTokenizer) or tokenizer.model is None or tokenizer.tables is None:
        fail(f"{arguments.model} has no entropy model with tables; give a model of pictures that has one")
    records = []
    for quality in arguments.quality:
        rows = []
        for item in find_items([arguments.data], MEDIA["image"], arguments.limit):
            pixels = image.read(item.path).pixels
            tokens = tokenizer.encode(pixels, quality, effort=0)
            error = float(np.square(pixels.astype(np.float64) - tokenizer.pixels(tokens)).mean())
            bits = 8 * len(tokenizer.compress(tokens))
            expected = bits_by_tables(tokenizer, tokens), bits_by_densities(tokenizer, tokens)
            ratios = {name: bits / each for name, each in zip(RATIOS, expected, strict=True)}
            row = {"file": item.name, "quality": quality, "file_bits": bits, **ratios}
            row |= {"bits_per_pixel": bits / pixels[0].size, "psnr_db": 10 * np.log10(255**2 / max(error, 1e-9))}
            rows.append(row)
            emit({"benchmark": "image_rates"} | row)
        record = {"benchmark": "image_rates", "quality": quality, "files": len(rows)}
        record |= {name: mean(row[name] for row in rows) for name in ("bits_per_pixel", "psnr_db", *RATIOS)}
        records.append(record | {"most_over_tables": max(row["file_over_tables"] for row in rows)})
        emit(records[-1])
    show(records, ["quality", "bits_per_pixel", "psnr_db", *RATIOS, "most_over_tables"])


@torch.inference_mode()
def bits_by_tables(tokenizer: ImageTokenizer, tokens: Tokens) -> float:
    """Bits of all codes by the frequencies of the tables that the model chooses: what an ideal coder would write."""
    indexed, size = tokenizer.coding_tables, tokenizer.codec.bottleneck.codebook_sizes[0]
    assert isinstance(indexed, IndexedTables)
    assert tokens.quality_index is not None
    coder = IndexedCoder(indexed, len(tokens.radices), size, tokens.quality_index)
    costs = [-np.log2(table / table.sum()) for table in map(np.asarray, indexed.tables.frequencies)]
    costs.append(np.full(size, np.log2(size)))  # of table -1, what is escaped
    bands = tokens.codes.numpy()
    pieces = [
        p
        for row in range(0, bands.shape[2], tokens.steps)
        for p in coder.symbols_by_table(bands[:, :, row : row + tokens.steps])
    ]
    return float(sum(costs[coded.table][coded.symbols].sum() for coded in pieces))


@torch.inference_mode()
def bits_by_densities(tokenizer: ImageTokenizer, tokens: Tokens) -> float:
    """Bits of all codes by the densities that the entropy model was trained with, without tables and bytes."""
    model, totals = tokenizer.model, list[float]()
    assert model is not None
    assert tokens.quality_index is not None
    for band in tokens.codes.long().split(tokens.steps, 2):
        parts = model.unfold((band - ZERO).double())

        def counted(index: int, stage: Stage, parts: list[torch.Tensor] = parts) -> torch.Tensor:
            totals.append(float(model.symbol_bits(parts[index].float(), stage, index)))
            return parts[index]

        run_stages(model.stages((1, *band.shape[2:]), tokens.quality_index), counted)
    return sum(totals)


if __name__ == "__main__":
    run(main)
