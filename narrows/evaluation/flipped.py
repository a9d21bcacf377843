"""What a noisy channel does: an operating point whose codes are decoded with some of their bits flipped.

codes of fixed length, ceil(log2 V) bits each ─▶ every bit flipped with the same chance ─▶ decoder
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from narrows.errors import InputError
from narrows.evaluation.base import Json, OperatingPoint, Picture, Signal, Sound
from narrows.evaluation.ours import NarrowsAudio, NarrowsImage


@dataclass(frozen=True)
class Flipped(OperatingPoint):
    """A point of a model with codebooks, at a share of flipped bits: its setting.

    Codes are what a stream without entropy coding holds, where a wrong bit costs one code; an entropy-coded stream
    refuses wrong bits by its checksums. An index beyond a codebook is taken modulo its size. Which bits are flipped
    depends on the file alone. Raises InputError for a point without codebooks and a share outside of 0 to 1.
    """

    inner: NarrowsAudio | NarrowsImage
    share: float

    def __post_init__(self) -> None:
        if not self.inner.codebook_sizes:
            raise InputError(f"{self.inner.name} has no codebooks, whose bits could be flipped; leave --flips out")
        if not 0 < self.share < 1:
            raise InputError(f"a share {self.share:g} of flipped bits given, one between 0 and 1 wanted")

    @property
    def medium(self) -> str:  # type: ignore[override]
        """Of the point without flips."""
        return self.inner.medium

    @property
    def family(self) -> str:  # type: ignore[override]
        """Of the point without flips."""
        return f"{self.inner.name}+flips"

    @property
    def setting(self) -> float:  # type: ignore[override]
        """The share."""
        return self.share

    @property
    def key(self) -> Mapping[str, Json]:
        """That of the point without flips, and the share."""
        return {**self.inner.key, "flips": self.share}

    def check(self) -> None:
        """As the point without flips."""
        self.inner.check()

    def encode(self, signal: Signal, folder: Path) -> Path:
        """Writes the whole `.nrw`."""
        return self.inner.encode(signal, folder)

    def payload(self, path: Path) -> int:
        """As the point without flips."""
        return self.inner.payload(path)

    def decode(self, path: Path) -> Signal:
        """What is left of the signal."""
        import torch

        data, tokenizer = path.read_bytes(), self.inner.tokenizer
        tokens = tokenizer.decompress(data)
        rng = np.random.default_rng(list(hashlib.sha256(data).digest()))
        codes = tokens.codes.numpy().copy()
        for book, size in enumerate(self.inner.codebook_sizes):
            width = (size - 1).bit_length()
            flips = rng.random((*codes[:, book].shape, width)) < self.share
            codes[:, book] = (codes[:, book] ^ (flips << np.arange(width)).sum(-1)) % size
        damaged = replace(tokens, codes=torch.from_numpy(codes))
        if isinstance(self.inner, NarrowsAudio):
            tokenizer = self.inner.tokenizer
            return Sound(tokenizer.decode(damaged).numpy(), tokenizer.extent(tokens).sample_rate)
        pixels = self.inner.tokenizer.pixels(damaged)
        return Picture(np.ascontiguousarray(np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0)))
