"""The media that are measured, and the items of a data set: files of one medium."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from narrows.errors import InputError, MediaError
from narrows.evaluation.base import Picture, Signal, Sound
from narrows.media import audio, image
from narrows.media.files import StrPath, shown
from narrows.media.folders import File, size, suffix, text, walk


@dataclass(frozen=True)
class Medium:
    """A kind of signal: which files hold it, and in what its rates and speeds are told.

    rate_divisor: bits per amount in one `rate_unit`. speed_divisor: amount a second in one `speed_unit`. The amount of
    a signal is in seconds or pixels.
    """

    name: str
    suffixes: frozenset[str]
    read: Callable[[Path], Signal]
    rate_unit: str
    rate_divisor: float
    speed_unit: str
    speed_divisor: float

    def rate(self, file_bytes: float, amount: float) -> float:
        """Bytes for an amount of signal, in `rate_unit`."""
        return 8 * file_bytes / amount / self.rate_divisor

    def speed(self, amount: float, seconds: float) -> float:
        """An amount of signal in so many seconds of work, in `speed_unit`."""
        return amount / seconds / self.speed_divisor


@dataclass(frozen=True)
class Item:
    """A file to measure with. name: its path below the folder that was given. digest: SHA-256 of its bytes."""

    name: str
    path: Path
    digest: str


def items(
    paths: Sequence[StrPath], medium: Medium, limit: int | None = None, apart: StrPath | None = None
) -> list[Item]:
    """The files of a medium in folders, searched as `walk` does, and files given by themselves, sorted by name.

    limit: only so many, the first by name. apart: a folder that is passed over, such as that of results. Whether a file
    can be decoded is not looked at.
    Raises InputError where there are none, for a path that is neither, for two items of one name and a limit below 1;
    MediaError for a file that may not be read.
    """
    if limit is not None and limit < 1:
        raise InputError(f"a limit of {limit} items given, at least 1 wanted")
    found: dict[str, Path] = {}
    for file in (file for given in paths for file in _files(given, medium.suffixes)):
        path = Path(file.path)
        if apart is not None and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(apart)):
            continue
        if found.setdefault(file.name, path) != path:
            raise InputError(
                f"{shown(found[file.name])} and {shown(path)} are both called {file.name}; give the folder above both"
            )
    if not found:
        places, kinds = ", ".join(map(shown, paths)) or "nothing", ", ".join(sorted(medium.suffixes))
        raise InputError(f"no file of {medium.name} in {places}; give folders or files with {kinds}")
    return [Item(name, found[name], _digest(found[name])) for name in sorted(found)[:limit]]


def _files(given: StrPath, suffixes: frozenset[str]) -> Iterator[File]:
    path = os.fspath(given)
    if os.path.isdir(path):
        yield from (file for file in walk(path) if suffix(file.path) in suffixes)
    elif os.path.isfile(path):
        yield File(path, text(os.path.basename(path)), size(path))
    else:
        raise InputError(f"there is no file or folder {shown(given)}; check the path")


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MediaError(f"{shown(path)} cannot be read: {error.strerror}; check it, or leave it out") from error


def _sound(path: Path) -> Sound:
    """A recording at its own rate, all channels."""
    read = audio.read(path)
    return Sound(read.samples, read.sample_rate)


def _picture(path: Path) -> Picture:
    """A picture; grey as three equal channels."""
    pixels = image.read(path)
    return Picture(np.repeat(pixels, 3 // pixels.shape[2], axis=2))


MEDIA = {
    "audio": Medium("audio", audio.SUFFIXES, _sound, "kbit/s", 1000, "× real time", 1),
    "image": Medium("image", image.SUFFIXES, _picture, "bit/pixel", 1, "megapixel/s", 1e6),
}
