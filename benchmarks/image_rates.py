"""Bytes of images, encoded without effort, against the bits that the tables and the densities of a model predict.

    python benchmarks/image_rates.py --model image --data DIR

Prints one JSON object for each image and quality, and one for each quality. `codec evaluate` compares rate and quality
with other codecs.
"""

from pathlib import Path
from statistics import mean

import numpy as np
import torch
from common import argument_parser, emit, image_files, load_image_model, run, show

from narrows import ImageTokenizer, Tokens
from narrows.bitstream import IndexedTables
from narrows.bitstream.indexed import IndexedCoder
from narrows.codecs.bottlenecks.entropy.base import ZERO, Stage, run_stages
from narrows.media import image

RATIOS = ("file_over_tables", "file_over_densities")


def main() -> None:
    """Measure one model."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", default="image", help="name or folder of an image model (default: image)")
    parser.add_argument("--data", type=Path, required=True, help="folder of images, searched recursively")
    parser.add_argument("--quality", type=float, nargs="+", default=list(range(1, 9)), help="(default: 1 to 8)")
    parser.add_argument("--limit", type=int, help="only this many images, the first by name")
    arguments = parser.parse_args()
    tokenizer = load_image_model(arguments.model)
    records = []
    for quality in arguments.quality:
        rows = []
        for path in image_files(arguments.data)[: arguments.limit]:
            pixels = image.read(path).pixels
            tokens = tokenizer.encode(pixels, quality=quality, effort=0)
            error = float(np.square(pixels.astype(np.float64) - tokenizer.decode_signal(tokens).pixels).mean())
            bits = 8 * len(tokenizer.compress(tokens))
            predicted = bits_by_tables(tokenizer, tokens), bits_by_densities(tokenizer, tokens)
            row = {"file": path.name, "quality": quality, "file_bits": bits}
            row |= {name: bits / each for name, each in zip(RATIOS, predicted, strict=True)}
            row |= {"bits_per_pixel": bits / pixels[0].size, "psnr_db": 10 * np.log10(255**2 / max(error, 1e-9))}
            rows.append(row)
            emit({"benchmark": "image_rates"} | row)
        record = {"benchmark": "image_rates", "quality": quality, "files": len(rows)}
        record |= {name: mean(row[name] for row in rows) for name in ("bits_per_pixel", "psnr_db", *RATIOS)}
        records.append(record | {"max_over_tables": max(row["file_over_tables"] for row in rows)})
        emit(records[-1])
    show(records, ["quality", "bits_per_pixel", "psnr_db", *RATIOS, "max_over_tables"])


@torch.inference_mode()
def bits_by_tables(tokenizer: ImageTokenizer, tokens: Tokens) -> float:
    """Bits of all codes by the frequencies of their tables: what an ideal entropy coder would write."""
    indexed, size = tokenizer.coding_tables, tokenizer.codec.bottleneck.codebook_sizes[0]
    assert isinstance(indexed, IndexedTables)
    assert tokens.quality_index is not None
    coder = IndexedCoder(indexed, len(tokens.radices), size, tokens.quality_index)
    costs = [-np.log2(table / table.sum()) for table in map(np.asarray, indexed.tables.frequencies)]
    costs.append(np.full(size, np.log2(size)))  # of table -1: escaped codes
    bands = (band.numpy() for band in tokens.codes.split(tokens.steps, 2))
    groups = (group for band in bands for group in coder.symbols_by_table(band))
    return float(sum(costs[group.table][group.symbols].sum() for group in groups))


@torch.inference_mode()
def bits_by_densities(tokenizer: ImageTokenizer, tokens: Tokens) -> float:
    """Bits of all codes by the densities that the entropy model was trained with, without tables and bytes."""
    model, bits = tokenizer.entropy_model, list[float]()
    assert model is not None
    assert tokens.quality_index is not None
    for band in tokens.codes.long().split(tokens.steps, 2):
        parts = model.unfold((band - ZERO).double())

        def symbols_of(index: int, stage: Stage, parts: list[torch.Tensor] = parts) -> torch.Tensor:
            bits.append(float(model.symbol_bits(parts[index].float(), stage, index)))
            return parts[index]

        run_stages(model.stages((1, *band.shape[2:]), tokens.quality_index), symbols_of)
    return sum(bits)


if __name__ == "__main__":
    run(main)
