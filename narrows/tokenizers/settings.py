"""The settings of encoding and the options of decoding."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TypedDict

from narrows.errors import InputError, shortened
from narrows.media.extents import Extent
from narrows.media.targets import Target

Progress = Callable[[float], object]  # called with the fraction of the work that is done


@dataclass(frozen=True)
class RateSetting:
    """The setting of `encode` that trades rate for quality.

    Args:
        name: name of the argument of `encode`.
        values: usual values.
        default: value that `encode` uses if none is given.
    """

    name: str
    values: tuple[float, ...]
    default: float


class DecodeOptions(TypedDict, total=False):
    """Options of `decode_file` and `decode_bytes` by medium; None for none.

    Attributes:
        background: images: colour that a transparent image is flattened onto, as a name of CSS or like "#rrggbb".
        start, stop: audio and video: the part to decode, in seconds; None for the beginning and the end.
        sound: video: False to leave the sound track out.
    """

    background: str | None
    start: float | None
    stop: float | None
    sound: bool | None


@dataclass(frozen=True)
class Compressed:
    """A media file as an .nrw stream.

    Args:
        data: the stream.
        extent: size of the signal.
        attachments: bytes that the stream holds beside the codes, by name.
    """

    data: bytes
    extent: Extent
    attachments: Mapping[str, bytes]


@dataclass(frozen=True)
class Output:
    """Where and how `decode_file` writes; its arguments."""

    target: Target
    format: str | None
    overwrite: bool
    progress: Progress | None


def check_numbers(**settings: object) -> None:
    """Raise InputError that names the first setting that is neither None nor a number that a float can hold."""
    for name, value in settings.items():
        if value is not None and not is_number(value):
            raise InputError(f"expected {name} as a number, got {shortened(value)}")


def is_number(value: object) -> bool:
    """Whether a value is a real number, not a bool, that a float can hold; infinity and NaN are."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and float(value) is not None
    except OverflowError:
        return False
