"""The types that data sets are made of.

source ─▶ SourceItem ... ─▶ Shard ... ─▶ worker ─▶ TokenizedItem ... ─▶ 00007-of-00128.parquet
                                            └────▶ Failure ... ─▶ 00007-of-00128.errors.jsonl
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from narrows.bitstream import Radices
from narrows.media.extents import Extent

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class Location:
    """Where the bytes of an item are: a whole file, a range of bytes of a file, or a cell of a table.

    Attributes:
        path: absolute path of the file.
        start: first byte of the item, in an archive.
        size: bytes; None where it is unknown, for a missing file for example. For a row of Parquet the mean over its
            row group, for a member of a tar what the tar claims.
        row, column: of the cell, in a table.
    """

    path: str
    start: int | None = None
    size: int | None = None
    row: int | None = None
    column: str | None = None


@dataclass(frozen=True, slots=True)
class SourceItem:
    """A recording, image or clip of a data set, before it is tokenized.

    Attributes:
        key: unique in the data set and the same in every run. Any text: do not use it as a path to write to.
        location: where its bytes are.
        meta: other columns of the source, which are copied into the shards.
        number: its place in the source, from 0: the row of a manifest, or the place in the sorted names of files.
    """

    key: str
    location: Location
    meta: Mapping[str, Json] = field(default_factory=dict)
    number: int = 0


@dataclass(frozen=True)
class Shard:
    """Items that are tokenized together.

    Attributes:
        index, count: number of the shard, and of all shards.
        items: the items.
        one_by_one: tokenize item by item and record which one is being tokenized, so that an item that kills its
            worker is known.
        skipped: indices of items that are not tried, each with the reason.
    """

    index: int
    count: int
    items: Sequence[SourceItem]
    one_by_one: bool = False
    skipped: Mapping[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of its file, without the suffix."""
        return f"{self.index:05d}-of-{self.count:05d}"


@dataclass(frozen=True)
class DatasetInfo:
    """What all items of a tokenized data set have in common.

    Attributes:
        medium: "audio", "image" or "video".
        kind: "codes", or "latents" of a continuous bottleneck.
        model, fingerprint: of the tokenizer.
        radices: of the codebooks, see `Tokens`; empty for latents.
        depth: values per position of the latent grid: K codebooks, or channels of the latents.
        strides: samples, pixels or frames per position, along each axis.
        channels: of the codec.
        sample_rate: of the codec, in Hz; None for images and video.
        quality_index: where the model has several qualities.
    """

    medium: str
    kind: Literal["codes", "latents"]
    model: str
    fingerprint: str
    radices: Radices
    depth: int
    strides: tuple[int, ...]
    channels: int
    sample_rate: int | None = None
    quality_index: int | None = None


def position_unit(info: DatasetInfo) -> str:
    """The unit of the strides of a data set, for text."""
    return {"audio": "samples", "image": "pixels", "video": "frames and pixels"}[info.medium]


@dataclass(frozen=True)
class TokenizedItem:
    """A recording, image or clip as tokens.

    Attributes:
        key, meta, number: those of the SourceItem.
        values: integer codes (S, K, *grid) or float16 latents (S, D, *grid) of S groups of channels.
        extent: size of the recording, image or clip.
        times: of the frames of a clip whose rate is not constant, in seconds from 0; None for others.
    """

    key: str
    values: NDArray[np.generic]
    extent: Extent
    meta: Mapping[str, Json] = field(default_factory=dict)
    number: int = 0
    times: tuple[Fraction, ...] | None = None


@dataclass(frozen=True)
class Failure:
    """An item that could not be tokenized, with the reason in one line."""

    key: str
    reason: str
