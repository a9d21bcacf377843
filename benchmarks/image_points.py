"""Operating points: a picture to a real file on disk and back."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import narrows
from narrows.bitstream import Prior
from narrows.bitstream.chosen import ChosenCoder
from narrows.codecs.bottlenecks.entropy_model import ZERO, Stage, driven

if TYPE_CHECKING:
    from narrows import ImageTokenizer, Tokens

Pixels = NDArray[np.uint8]  # (H, W, C)
CLASSICAL: dict[str, dict[str, Any]] = {  # what Pillow is told beside the quality
    "jpeg": {"optimize": True, "subsampling": "4:2:0"},
    "webp": {"method": 6},
    "avif": {"speed": 6},
}


@dataclass(frozen=True)
class Coded:
    """What came back, the bytes of the file, and how many bits a model expects: by its tables, by its densities."""

    pixels: Pixels
    file_bytes: int
    table_bits: float | None = None
    density_bits: float | None = None


class Point(Protocol):
    """A codec at one quality."""

    @property
    def codec(self) -> str:
        """What tables call the codec."""

    @property
    def quality(self) -> float:
        """On the codec's own scale."""

    def __call__(self, pixels: Pixels, folder: Path) -> Coded:
        """Write a picture as a file into the folder, read the file back, decode it."""


@cache
def loaded(model: str) -> "ImageTokenizer":
    """`narrows.load`, once a process."""
    return narrows.load(model)


@dataclass(frozen=True)
class Narrows:
    """A narrows model, 1 to 8."""

    codec: str
    quality: float

    def __call__(self, pixels: Pixels, folder: Path) -> Coded:
        """Encode, write the `.nrw`, and decode what was read back from it."""
        tokenizer, path = loaded(self.codec), folder / "coded.nrw"
        tokens = tokenizer.encode(pixels.transpose(2, 0, 1), self.quality)
        path.write_bytes(tokenizer.compress(tokens))
        _, decoded = tokenizer.open(path.read_bytes())
        expected = bits_by_tables(tokenizer, tokens), bits_by_densities(tokenizer, tokens)
        return Coded(decoded.transpose(1, 2, 0), path.stat().st_size, *expected)


@dataclass(frozen=True)
class Classical:
    """A codec of Pillow's, by the suffix of its files; its own quality, 0 to 100."""

    codec: str
    quality: float

    def __call__(self, pixels: Pixels, folder: Path) -> Coded:
        """Save the file and open it again."""
        path = folder / f"coded.{self.codec}"
        grey = pixels.shape[2] == 1
        picture = Image.fromarray(pixels[..., 0] if grey else pixels)
        picture.save(path, quality=round(self.quality), **CLASSICAL[self.codec])
        with Image.open(path) as file:
            decoded = np.asarray(file.convert("L" if grey else "RGB"))
        return Coded(decoded.reshape(pixels.shape), path.stat().st_size)


@torch.inference_mode()
def bits_by_tables(tokenizer: "ImageTokenizer", tokens: "Tokens") -> float:
    """Bits of all codes by the frequencies of the tables that the model chooses: what an ideal coder would write."""
    prior, size = tokenizer.prior, tokenizer.codec.bottleneck.codebook_sizes[0]
    assert isinstance(prior, Prior)
    assert tokens.setting is not None
    coder = ChosenCoder(prior, len(tokens.radices), size, tokens.setting)
    costs = [-np.log2(table / table.sum()) for table in map(np.asarray, prior.tables.frequencies)]
    costs.append(np.full(size, np.log2(size)))  # of table -1, what is escaped
    bands = tokens.codes.numpy()
    pieces = [
        p for row in range(0, bands.shape[2], tokens.steps) for p in coder.pieces(bands[:, :, row : row + tokens.steps])
    ]
    return float(sum(costs[piece.table][piece.symbols].sum() for piece in pieces))


@torch.inference_mode()
def bits_by_densities(tokenizer: "ImageTokenizer", tokens: "Tokens") -> float:
    """Bits of all codes by the densities that the entropy model was trained with, without tables and bytes."""
    model, totals = tokenizer.model, list[float]()
    assert model is not None
    assert tokens.setting is not None
    for band in tokens.codes.long().split(tokens.steps, 2):
        parts = model.unfold((band - ZERO).double())

        def counted(index: int, stage: Stage, parts: list[torch.Tensor] = parts) -> torch.Tensor:
            totals.append(float(model.bits_of(parts[index].float(), stage, index)))
            return parts[index]

        driven(model.stages((1, *band.shape[2:]), tokens.setting), counted)
    return sum(totals)
