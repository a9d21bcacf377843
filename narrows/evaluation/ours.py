"""Operating points of narrows' own models: real `.nrw` files."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

import narrows
from narrows.errors import InputError
from narrows.evaluation.base import Json, OperatingPoint, Picture, Signal, Sound

if TYPE_CHECKING:
    from narrows import AudioTokenizer, ImageTokenizer


@cache
def loaded(model: str) -> "AudioTokenizer | ImageTokenizer":
    """`narrows.load`, once a process."""
    return narrows.load(model)


def model_points(model: str, settings: Sequence[float] | Literal["all"] = ()) -> list[OperatingPoint]:
    """A model at some settings, at all of them, or, where none are given, at its usual one.

    Settings are the qualities of a model that has several (all: the whole numbers 1 to 8), else the numbers of
    codebooks at which it can decode. Raises ModelError where it cannot be loaded, InputError for other settings.
    """
    from narrows import AudioTokenizer, ImageTokenizer

    tokenizer = loaded(model)
    check: Callable[[Any], object] = tokenizer.check_codebooks
    offered, usual = tokenizer.codec.bottleneck.prefixes, tokenizer.codebooks
    if isinstance(tokenizer, ImageTokenizer) and tokenizer.qualities > 1:
        check, offered, usual = tokenizer.setting, tuple(range(1, 9)), 4
    kind: type[_Model] = NarrowsAudio if isinstance(tokenizer, AudioTokenizer) else NarrowsImage
    if len(offered) == 1:
        if settings not in ("all", ()):
            raise InputError(f"{model} given with a setting; it has no choice of them, type {model}")
        return [kind(model)]
    for setting in () if settings == "all" else settings:
        check(int(setting) if float(setting).is_integer() else setting)
    return [kind(model, float(setting)) for setting in (offered if settings == "all" else settings or (usual,))]


@dataclass(frozen=True)
class _Model(OperatingPoint):
    """family: name, folder or hub repository of the model, loaded where it is first used."""

    family: str
    setting: float | None = None

    @property
    @abstractmethod
    def tokenizer(self) -> "AudioTokenizer | ImageTokenizer":
        """The model."""

    @property
    def key(self) -> Mapping[str, Json]:
        """Name, fingerprint and tables of the model, its setting, and versions."""
        import torch

        tables = self.tokenizer.tables
        return {
            "model": self.tokenizer.name,
            "fingerprint": self.tokenizer.fingerprint,
            "tables": None if tables is None else tables.digest.hex(),
            "setting": self.setting,
            "versions": f"narrows {narrows.__version__}, torch {torch.__version__}",
        }

    def check(self) -> None:
        """All that a model needs comes with this package."""

    @property
    def parameters(self) -> int:
        """Of encoder, bottleneck and decoder."""
        return sum(weights.numel() for weights in self.tokenizer.codec.parameters())

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Those of the codebooks that the setting keeps; none of an entropy model, whose integers are no entries."""
        from narrows.codecs.bottlenecks.entropy.base import EntropyModel

        bottleneck = self.tokenizer.codec.bottleneck
        return () if isinstance(bottleneck, EntropyModel) else bottleneck.codebook_sizes[: self._codebooks]

    def codes(self, path: Path) -> NDArray[np.int64] | None:
        """Codes (K, n) of all channels and positions."""
        if not self.codebook_sizes:
            return None
        codes = self.tokenizer.decompress(path.read_bytes()).codes
        return codes.transpose(0, 1).flatten(1).numpy().astype(np.int64)

    def payload(self, path: Path) -> int:
        """Bytes of the entropy-coded chunks, without their lengths and checksums."""
        from narrows.bitstream import inspect

        return inspect(path.read_bytes()).payload_bytes

    @property
    def _codebooks(self) -> int | None:
        return None if self.setting is None else int(self.setting)


@dataclass(frozen=True)
class NarrowsAudio(_Model):
    """A model of sound; setting: the number of codebooks, all of them unless given."""

    medium: ClassVar[str] = "audio"

    @property
    def tokenizer(self) -> "AudioTokenizer":
        """The model. Raises InputError for one of another medium."""
        from narrows import AudioTokenizer

        tokenizer = loaded(self.family)
        if not isinstance(tokenizer, AudioTokenizer):
            raise InputError(f"{self.family} is no model of sound; give it to NarrowsImage")
        return tokenizer

    def encode(self, signal: Signal, folder: Path) -> Path:
        """Writes the `.nrw`. Raises InputError for a number of codebooks that the model does not offer."""
        assert isinstance(signal, Sound)
        tokens = self.tokenizer.encode(signal.samples, signal.rate, self._codebooks)
        return _written(folder, self.tokenizer.compress(tokens))

    def decode(self, path: Path) -> Sound:
        """Of the rate and length that it had."""
        tokens = self.tokenizer.decompress(path.read_bytes())
        return Sound(self.tokenizer.decode(tokens).numpy(), self.tokenizer.extent(tokens).sample_rate)


@dataclass(frozen=True)
class NarrowsImage(_Model):
    """A model of pictures; setting: the quality where there are several, else the number of codebooks."""

    medium: ClassVar[str] = "image"

    @property
    def tokenizer(self) -> "ImageTokenizer":
        """The model. Raises InputError for one of another medium."""
        from narrows import ImageTokenizer

        tokenizer = loaded(self.family)
        if not isinstance(tokenizer, ImageTokenizer):
            raise InputError(f"{self.family} is no model of pictures; give it to NarrowsAudio")
        return tokenizer

    def encode(self, signal: Signal, folder: Path) -> Path:
        """Writes the `.nrw`. Raises InputError for a quality or number of codebooks that the model does not offer."""
        assert isinstance(signal, Picture)
        pixels = signal.pixels.transpose(2, 0, 1)
        several = self.tokenizer.qualities > 1
        tokens = self.tokenizer.encode(
            pixels, self.setting if several else None, codebooks=None if several else self._codebooks
        )
        return _written(folder, self.tokenizer.compress(tokens))

    def decode(self, path: Path) -> Picture:
        """Of the size that it had."""
        _, pixels = self.tokenizer.open(path.read_bytes())
        return Picture(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _written(folder: Path, data: bytes) -> Path:
    path = folder / "coded.nrw"
    path.write_bytes(data)
    return path
