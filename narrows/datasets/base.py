"""What is tokenized, and what comes of it.

SOURCE ─▶ entries ─▶ shards of entries ─▶ a pure function of one shard ─▶ 00007-of-00128.parquet, .errors.jsonl
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from narrows.bitstream import Radices
from narrows.media.extents import Extent

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of an item are: a file, `size` bytes from `start` of it, or a row of a column of a table.

    path: absolute. size: in bytes; None where nobody knows, a missing file for example. Of a row of Parquet it is the
    mean over its row group, of a member of a tar what the tar claims.
    """

    path: str
    start: int | None = None
    size: int | None = None
    row: int | None = None
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An item of a data set. key: tells it from all others of the data set, the same in every run; any text, so no
    path to write to. meta: what else the source says of it, which travels along."""

    key: str
    place: Place
    meta: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Shard:
    """Entries that are tokenized together, number `index` of `count`.

    careful: one by one, each noted before, so that one which kills its worker is known. without: entries that are not
    tried, by their places, and why.
    """

    index: int
    count: int
    entries: Sequence[Entry]
    careful: bool = False
    without: Mapping[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its file, without the suffix."""
        return f"{self.index:05d}-of-{self.count:05d}"


@dataclass(frozen=True)
class Made:
    """What is the same for all rows of a tokenized data set.

    kind: codes of a codec with codebooks, or latents of a continuous one (then radices are empty). books: K of the
    codes, or channels of the latents. strides: samples or pixels of one position along each axis; channels: of the
    codec; rate: samples a second at which the codec works, None for images.
    """

    medium: str
    kind: Literal["codes", "latents"]
    model: str
    fingerprint: str
    radices: Radices
    books: int
    strides: tuple[int, ...]
    channels: int
    rate: int | None = None
    quality_index: int | None = None


@dataclass(frozen=True)
class Row:
    """One tokenized item of C signals: codes (C, K, *grid), integers, or latents (C, D, *grid), float16; its extent."""

    key: str
    values: NDArray[np.generic]
    extent: Extent
    meta: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """An item that could not be tokenized, and why, in one line."""

    key: str
    reason: str
