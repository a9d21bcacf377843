"""How much of a medium a stream holds: what `decode` must give back, to the sample, the pixel and the frame."""

from dataclasses import astuple, dataclass, fields
from typing import ClassVar

from narrows.bitstream.limits import MAX_CHANNELS, MAX_COUNT, MAX_RATE, MAX_SIDE
from narrows.bitstream.varint import Cursor, to_varint
from narrows.errors import InputError


def check_integer(value: object, limit: int, what: str) -> None:
    """Raises InputError unless `value` is an int (not a bool, not a NumPy scalar) in 1 .. limit."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{what} is {value!r}, want a whole number; convert it with int()")
    if not 1 <= value <= limit:
        raise InputError(f"{what} is {value}, want 1 to {limit}")


@dataclass(frozen=True)
class _Extent:
    """Integers that are written as varints in the order of the fields."""

    medium: ClassVar[str]
    axes: ClassVar[int]  # of the latent grid
    limits: ClassVar[tuple[int, ...]]  # one for each field

    def __post_init__(self) -> None:
        for field, limit in zip(fields(self), self.limits, strict=True):
            check_integer(getattr(self, field.name), limit, f"{field.name} of the {self.medium}")

    def to_bytes(self) -> bytes:
        return b"".join(to_varint(value) for value in astuple(self))


@dataclass(frozen=True)
class AudioExtent(_Extent):
    """`samples` per channel at `sample_rate` Hz. The latent grid is (F,)."""

    medium: ClassVar[str] = "audio"
    axes: ClassVar[int] = 1
    limits: ClassVar[tuple[int, ...]] = (MAX_RATE, MAX_COUNT, MAX_CHANNELS)

    sample_rate: int
    samples: int
    channels: int

    @property
    def seconds(self) -> float:
        """The duration."""
        return self.samples / self.sample_rate


@dataclass(frozen=True)
class ImageExtent(_Extent):
    """Size in pixels. The latent grid is (H, W)."""

    medium: ClassVar[str] = "image"
    axes: ClassVar[int] = 2
    limits: ClassVar[tuple[int, ...]] = (MAX_SIDE, MAX_SIDE, MAX_CHANNELS)

    height: int
    width: int
    channels: int


@dataclass(frozen=True)
class VideoExtent(_Extent):
    """Frames, their size in pixels, and rate / rate_base frames per second. The latent grid is (T, H, W)."""

    medium: ClassVar[str] = "video"
    axes: ClassVar[int] = 3
    limits: ClassVar[tuple[int, ...]] = (MAX_COUNT, MAX_SIDE, MAX_SIDE, MAX_CHANNELS, MAX_RATE, MAX_RATE)

    frames: int
    height: int
    width: int
    channels: int
    rate: int
    rate_base: int


Extent = AudioExtent | ImageExtent | VideoExtent

MEDIA: dict[int, type[AudioExtent] | type[ImageExtent] | type[VideoExtent]] = {
    1: AudioExtent,
    2: ImageExtent,
    3: VideoExtent,
}


def read_extent(cursor: Cursor, kind: type[AudioExtent] | type[ImageExtent] | type[VideoExtent]) -> Extent:
    """The extent at the cursor. Raises DamagedStream for a number beyond its limit."""
    named = zip(fields(kind), kind.limits, strict=True)
    return kind(*[cursor.varint(limit, f"{field.name} of the {kind.medium}") for field, limit in named])
