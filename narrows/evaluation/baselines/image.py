"""Operating points of classical image codecs in Pillow and its plug-ins: pixels ─▶ file ─▶ pixels."""

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
from PIL import Image as PILImage
from PIL import features

from narrows.errors import MediaError
from narrows.evaluation.base import Json, OperatingPoint, Unavailable
from narrows.evaluation.baselines.settings import SettingRange
from narrows.media.image import Image
from narrows.media.medium import Signal


@dataclass(frozen=True)
class ImageFormat:
    """A file format of Pillow.

    Args:
        name: Pillow's name.
        suffix: Suffix of its files.
        version: Function that returns the version of the library behind it; None if it is not installed.
        settings: Accepted settings.
        options: Function from a setting to the options of `Image.save`.
    """

    name: str
    suffix: str
    version: Callable[[], str | None]
    settings: SettingRange
    options: Callable[[float], dict[str, Any]]


def _quality(quality: float, **others: Json) -> dict[str, Json]:
    return {"quality": round(quality), **others}


def _target_psnr(target: float) -> dict[str, Json]:
    return {"quality_mode": "dB", "quality_layers": [target], "irreversible": True, "mct": 1}


def _plugin(distribution: str, module: str) -> str | None:
    """Version of a plug-in, which registers its format when it is imported."""
    try:
        importlib.import_module(module)
        return metadata.version(distribution)
    except ImportError:
        return None


JPEG = ("JPEG", ".jpg", partial(features.version, "jpg"), SettingRange("quality", 1, 100, 50))
AVIF = ("AVIF", ".avif", partial(features.version, "avif"), SettingRange("quality", 0, 100, 50))
IMAGE_FORMATS = {
    "jpeg": ImageFormat(*JPEG, partial(_quality, optimize=True, subsampling="4:2:0")),
    "jpeg-444": ImageFormat(*JPEG, partial(_quality, optimize=True, subsampling="4:4:4")),
    "webp": ImageFormat(
        "WEBP",
        ".webp",
        partial(features.version, "webp"),
        SettingRange("quality", 0, 100, 50),
        partial(_quality, method=6),
    ),
    "avif": ImageFormat(*AVIF, partial(_quality, speed=6, max_threads=1, subsampling="4:2:0")),
    "avif-444": ImageFormat(*AVIF, partial(_quality, speed=6, max_threads=1, subsampling="4:4:4")),
    "jpeg2000": ImageFormat(
        "JPEG2000",
        ".jp2",
        partial(features.version, "jpg_2000"),
        SettingRange("dB", 15, 50, 35, integer=False),
        _target_psnr,
    ),
    "jpeg-xl": ImageFormat(
        "JXL",
        ".jxl",
        partial(_plugin, "pillow-jxl-plugin", "pillow_jxl"),
        SettingRange("quality", 0, 99, 70),
        partial(_quality, effort=7, num_threads=1),
    ),
}


@dataclass(frozen=True)
class ImageBaseline(OperatingPoint):
    """A format of IMAGE_FORMATS at a setting of its own quality scale.

    JPEG 2000 uses irreversible wavelets, and its setting is a target PSNR: images at one setting have about the same
    PSNR, not the same number of bits per pixel.

    Args:
        family: Name in IMAGE_FORMATS.
        setting: Quality, or PSNR in dB for JPEG 2000.

    Raises:
        InputError: The format does not offer the setting.
    """

    medium: ClassVar[str] = "image"
    family: str
    setting: float

    def __post_init__(self) -> None:
        self.format.settings.check(self.family, self.setting)

    @property
    def format(self) -> ImageFormat:
        """The file format."""
        return IMAGE_FORMATS[self.family]

    @property
    def key(self) -> Mapping[str, Json]:
        """Options and versions."""
        versions = f"Pillow {PIL.__version__}, {self.format.name} {self.format.version()}"
        return {"options": self.format.options(self.setting), "versions": versions}

    def check(self) -> None:
        """Raises Unavailable if Pillow lacks the format."""
        if self.format.version() is None:
            plugin = "; pip install pillow-jxl-plugin" if self.format.name == "JXL" else ""
            raise Unavailable(f"Pillow {PIL.__version__} has no {self.format.name} here{plugin}")

    def encode(self, signal: Signal, folder: Path) -> Path:
        """Writes the file. Raises MediaError if the format rejects the image, for example because of its size."""
        self.check()
        path, data = folder / f"coded{self.format.suffix}", io.BytesIO()
        try:
            PILImage.fromarray(np.ascontiguousarray(signal.array.transpose(1, 2, 0))).save(
                data, self.format.name, **self.format.options(self.setting)
            )
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise MediaError(
                f"{self.family} cannot encode this image ({reason}); skip the image or the codec"
            ) from error
        path.write_bytes(data.getvalue())
        return path

    def decode(self, path: Path) -> Image:
        """The decoded image."""
        self.check()
        with PILImage.open(path, formats=(self.format.name,)) as decoded:
            return Image(np.ascontiguousarray(np.asarray(decoded.convert("RGB")).transpose(2, 0, 1)))
