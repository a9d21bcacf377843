"""Robustness to a noisy channel: an operating point whose codes are decoded with random bit errors.

fixed-length codes, ceil(log2 V) bits each ─▶ every bit flipped with probability p ─▶ decoder
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from narrows.errors import InputError
from narrows.evaluation.base import Json, OperatingPoint
from narrows.evaluation.models import ModelPoint
from narrows.media.medium import Signal


@dataclass(frozen=True)
class BitFlips(OperatingPoint):
    """An operating point of a model with codebooks, decoded after flipping each bit of its codes with probability p.

    This models a stream without entropy coding, where a wrong bit changes one code; the checksums of an entropy-coded
    stream detect wrong bits. A code beyond its codebook is taken modulo the codebook size. The flipped bits depend only
    on the file.

    Args:
        point: Operating point without bit flips.
        p: Probability, between 0 and 1; it is the setting.

    Raises:
        InputError: The model has no codebooks, or p is not between 0 and 1.
    """

    point: ModelPoint
    p: float

    def __post_init__(self) -> None:
        if not self.point.codebook_sizes:
            raise InputError(f"expected a model with codebooks, got {self.point.name}; omit --bit-flips")
        if not 0 < self.p < 1:
            raise InputError(f"expected a bit flip probability between 0 and 1, got {self.p:g}; give for example 0.01")

    @property
    def medium(self) -> str:  # type: ignore[override]
        """Medium of the model."""
        return self.point.medium

    @property
    def family(self) -> str:  # type: ignore[override]
        """Name of the operating point without bit flips, and a suffix."""
        return f"{self.point.name}+bit-flips"

    @property
    def setting(self) -> float:  # type: ignore[override]
        """The probability."""
        return self.p

    @property
    def key(self) -> Mapping[str, Json]:
        """Key of the point without bit flips, and the probability."""
        return {**self.point.key, "bit_flips": self.p}

    def check(self) -> None:
        """Checks the point without bit flips."""
        self.point.check()

    def encode(self, signal: Signal, folder: Path) -> Path:
        """Writes the undamaged `.nrw` file."""
        return self.point.encode(signal, folder)

    def payload(self, path: Path) -> int:
        """Payload of the undamaged file."""
        return self.point.payload(path)

    def decode(self, path: Path) -> Signal:
        """Decodes the codes with flipped bits."""
        import torch

        data, tokenizer = path.read_bytes(), self.point.tokenizer
        tokens = tokenizer.decompress(data)
        rng = np.random.default_rng(list(hashlib.sha256(data).digest()))
        codes = tokens.codes.numpy().copy()
        for codebook, size in enumerate(self.point.codebook_sizes):
            width = (size - 1).bit_length()
            flips = rng.random((*codes[:, codebook].shape, width)) < self.p
            codes[:, codebook] = (codes[:, codebook] ^ (flips << np.arange(width)).sum(-1)) % size
        damaged = replace(tokens, codes=torch.from_numpy(codes))
        return tokenizer.decode_signal(damaged)
