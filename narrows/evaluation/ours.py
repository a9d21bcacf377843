"""Operating points of narrows models: real `.nrw` files."""

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
    """`narrows.load`, once per process."""
    return narrows.load(model)


def model_points(model: str, settings: Sequence[float] | Literal["all"] = ()) -> list[OperatingPoint]:
    """Operating points of one model.

    Args:
        model: Name, folder or hub repository.
        settings: Qualities of a model with several qualities, else numbers of codebooks. "all" for all of them (of
            qualities: the integers 1 to 8), () for the default setting.

    Returns:
        One operating point per setting.

    Raises:
        ModelError: The model cannot be loaded.
        InputError: The model does not offer a setting.
    """
    from narrows import AudioTokenizer, ImageTokenizer

    tokenizer = loaded(model)
    check: Callable[[Any], object] = tokenizer.check_codebooks
    offered, default = tokenizer.codec.bottleneck.prefixes, tokenizer.codebooks
    if isinstance(tokenizer, ImageTokenizer) and tokenizer.qualities > 1:
        check, offered, default = tokenizer.setting, tuple(range(1, 9)), 4
    kind: type[_Model] = NarrowsAudio if isinstance(tokenizer, AudioTokenizer) else NarrowsImage
    if len(offered) == 1:
        if settings not in ("all", ()):
            raise InputError(f"expected {model} without a setting, because it has only one, got settings; type {model}")
        return [kind(model)]
    for setting in () if settings == "all" else settings:
        check(int(setting) if float(setting).is_integer() else setting)
    return [kind(model, float(setting)) for setting in (offered if settings == "all" else settings or (default,))]


@dataclass(frozen=True)
class _Model(OperatingPoint):
    """family: name, folder or hub repository of the model, which is loaded on first use."""

    family: str
    setting: float | None = None

    @property
    @abstractmethod
    def tokenizer(self) -> "AudioTokenizer | ImageTokenizer":
        """The model."""

    @property
    def key(self) -> Mapping[str, Json]:
        """Name, fingerprint and frequency tables of the model, setting, versions."""
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
        """Models need nothing beyond narrows."""

    @property
    def parameters(self) -> int:
        """Number of parameters of encoder, bottleneck and decoder."""
        return sum(weights.numel() for weights in self.tokenizer.codec.parameters())

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Sizes of the codebooks in use at this setting; empty for an entropy model, which has none."""
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
    """An audio model; setting: number of codebooks, None for all."""

    medium: ClassVar[str] = "audio"

    @property
    def tokenizer(self) -> "AudioTokenizer":
        """The model. Raises InputError for a model of another medium."""
        from narrows import AudioTokenizer

        tokenizer = loaded(self.family)
        if not isinstance(tokenizer, AudioTokenizer):
            raise InputError(f"expected an audio model, got the image model {self.family}; use NarrowsImage")
        return tokenizer

    def encode(self, signal: Signal, folder: Path) -> Path:
        """Writes the `.nrw`. Raises InputError for a number of codebooks that the model does not offer."""
        assert isinstance(signal, Sound)
        tokens = self.tokenizer.encode(signal.samples, signal.rate, self._codebooks)
        return _written(folder, self.tokenizer.compress(tokens))

    def decode(self, path: Path) -> Sound:
        """Decoded audio, at the original sample rate and length."""
        tokens = self.tokenizer.decompress(path.read_bytes())
        return Sound(self.tokenizer.decode(tokens).numpy(), self.tokenizer.extent(tokens).sample_rate)


@dataclass(frozen=True)
class NarrowsImage(_Model):
    """An image model; setting: quality if the model has several, else number of codebooks."""

    medium: ClassVar[str] = "image"

    @property
    def tokenizer(self) -> "ImageTokenizer":
        """The model. Raises InputError for a model of another medium."""
        from narrows import ImageTokenizer

        tokenizer = loaded(self.family)
        if not isinstance(tokenizer, ImageTokenizer):
            raise InputError(f"expected an image model, got the audio model {self.family}; use NarrowsAudio")
        return tokenizer

    def encode(self, signal: Signal, folder: Path) -> Path:
        """Writes the `.nrw`. Raises InputError for a quality or number of codebooks that the model does not offer."""
        assert isinstance(signal, Picture)
        pixels = signal.pixels.transpose(2, 0, 1)
        has_qualities = self.tokenizer.qualities > 1
        tokens = self.tokenizer.encode(
            pixels, self.setting if has_qualities else None, codebooks=None if has_qualities else self._codebooks
        )
        return _written(folder, self.tokenizer.compress(tokens))

    def decode(self, path: Path) -> Picture:
        """Decoded image, of the original size."""
        _, pixels = self.tokenizer.open(path.read_bytes())
        return Picture(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _written(folder: Path, data: bytes) -> Path:
    path = folder / "coded.nrw"
    path.write_bytes(data)
    return path
