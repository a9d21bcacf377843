"""Operating points of classical image codecs, by Pillow and its plug-ins: pixels ─▶ file ─▶ pixels."""

import importlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import PIL
from PIL import Image, features

from narrows.errors import MediaError
from narrows.evaluation.base import Json, OperatingPoint, Picture, Signal, Unavailable
from narrows.evaluation.scale import Scale


@dataclass(frozen=True)
class Format:
    """A format by Pillow's name.

    version: of the library behind it, None where it is not there. options: what saving is told for a setting.
    """

    name: str
    suffix: str
    version: Callable[[], str | None]
    scale: Scale
    options: Callable[[float], dict[str, Any]]


def _quality(quality: float, **others: Json) -> dict[str, Json]:
    return {"quality": round(quality), **others}


def _decibels(target: float) -> dict[str, Json]:
    return {"quality_mode": "dB", "quality_layers": [target], "irreversible": True, "mct": 1}


def _plugin(distribution: str, module: str) -> str | None:
    """Version of a plug-in, which registers its format when it is imported."""
    try:
        importlib.import_module(module)
        return metadata.version(distribution)
    except ImportError:
        return None


JPEG = ("JPEG", ".jpg", partial(features.version, "jpg"), Scale("quality", 1, 100, 50))
AVIF = ("AVIF", ".avif", partial(features.version, "avif"), Scale("quality", 0, 100, 50))
FORMATS = {
    "jpeg": Format(*JPEG, partial(_quality, optimize=True, subsampling="4:2:0")),
    "jpeg-444": Format(*JPEG, partial(_quality, optimize=True, subsampling="4:4:4")),
    "webp": Format(
        "WEBP", ".webp", partial(features.version, "webp"), Scale("quality", 0, 100, 50), partial(_quality, method=6)
    ),
    "avif": Format(*AVIF, partial(_quality, speed=6, max_threads=1, subsampling="4:2:0")),
    "avif-444": Format(*AVIF, partial(_quality, speed=6, max_threads=1, subsampling="4:4:4")),
    "jpeg2000": Format(
        "JPEG2000", ".jp2", partial(features.version, "jpg_2000"), Scale("dB", 15, 50, 35, whole=False), _decibels
    ),
    "jpeg-xl": Format(
        "JXL",
        ".jxl",
        partial(_plugin, "pillow-jxl-plugin", "pillow_jxl"),
        Scale("quality", 0, 99, 70),
        partial(_quality, effort=7, num_threads=1),
    ),
}


@dataclass(frozen=True)
class ImagePeer(OperatingPoint):
    """A format of FORMATS at its own quality. Raises InputError for a setting that it has not.

    That of JPEG 2000, by irreversible wavelets, is the PSNR that it aims at, so that pictures at one setting are alike
    in quality and not in size, as those of the others.
    """

    medium: ClassVar[str] = "image"
    family: str
    setting: float

    def __post_init__(self) -> None:
        self.format.scale.check(self.family, self.setting)

    @property
    def format(self) -> Format:
        """What it is saved as."""
        return FORMATS[self.family]

    @property
    def key(self) -> Mapping[str, Json]:
        """Options and versions."""
        versions = f"Pillow {PIL.__version__}, {self.format.name} {self.format.version()}"
        return {"options": self.format.options(self.setting), "versions": versions}

    def check(self) -> None:
        """Raises Unavailable where Pillow lacks the format."""
        if self.format.version() is None:
            plugin = "; pip install pillow-jxl-plugin" if self.format.name == "JXL" else ""
            raise Unavailable(f"Pillow {PIL.__version__} has no {self.format.name} here{plugin}")

    def encode(self, signal: Signal, folder: Path) -> Path:
        """Writes the file. Raises MediaError for what the format refuses, such as too many pixels a side."""
        assert isinstance(signal, Picture)
        self.check()
        path, coded = folder / f"coded{self.format.suffix}", io.BytesIO()
        try:
            Image.fromarray(signal.pixels).save(coded, self.format.name, **self.format.options(self.setting))
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise MediaError(f"{self.family} cannot code this picture ({reason}); leave one of the two out") from error
        path.write_bytes(coded.getvalue())
        return path

    def decode(self, path: Path) -> Picture:
        """The picture."""
        self.check()
        with Image.open(path, formats=(self.format.name,)) as picture:
            return Picture(np.asarray(picture.convert("RGB")))
