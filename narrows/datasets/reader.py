"""Token shards for training: items by index or key.

folder ─▶ finished shards ─▶ load ─▶ TokenData[i] ─▶ Tokens, Latents or ids; Examples of them with_meta
                                        └─▶ TokenStream (stream.py)
"""

import os
import re
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import accumulate
from typing import Any, Generic, Literal, TypeVar, get_args, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from narrows.bitstream import codebook_sizes
from narrows.bitstream.header import TIMES
from narrows.datasets.arrow_columns import RowGroup
from narrows.datasets.base import DatasetInfo, Json, TokenizedItem
from narrows.datasets.batches import Example
from narrows.datasets.shards import ShardFile, read_shard
from narrows.errors import InputError, shortened
from narrows.media.files import StrPath, quoted
from narrows.media.table import medium_named
from narrows.tokenizers.ids import Ids, Pattern, Vocabulary, check_pattern, flatten_codes, unflatten_ids
from narrows.tokenizers.tokens import Latents, Tokens
from narrows.tokenizers.video_frames import FrameRate, as_rate
from narrows.tokenizers.video_times import times_attachment

CACHED_GROUPS = 4  # row groups that are kept in memory
NAME = re.compile(r"(\d{5,})-of-(\d{5,})\.parquet")
Order = Literal["stored", "source"]
T_co = TypeVar("T_co", covariant=True)


@overload
def load(
    folder: StrPath, *, with_meta: Literal[False] = False, order: Order = "stored", allow_missing: bool = False
) -> "TokenData[Tokens | Latents]": ...
@overload
def load(
    folder: StrPath, *, with_meta: Literal[True], order: Order = "stored", allow_missing: bool = False
) -> "TokenData[Example[Tokens | Latents]]": ...
@overload
def load(
    folder: StrPath,
    *,
    ids: Pattern,
    vocabulary: Vocabulary | None = None,
    with_meta: Literal[False] = False,
    order: Order = "stored",
    allow_missing: bool = False,
) -> "TokenData[Tensor]": ...
@overload
def load(
    folder: StrPath,
    *,
    ids: Pattern,
    vocabulary: Vocabulary | None = None,
    with_meta: Literal[True],
    order: Order = "stored",
    allow_missing: bool = False,
) -> "TokenData[Example[Tensor]]": ...
def load(
    folder: StrPath,
    *,
    ids: Pattern | None = None,
    vocabulary: Vocabulary | None = None,
    with_meta: bool = False,
    order: Order = "stored",
    allow_missing: bool = False,
) -> "TokenData[Any]":
    """The items of all finished shards in a folder.

    Args:
        folder: that `codec tokenize` made.
        ids: give items as ids for a language model, (N,) or (K, N), in this pattern; None for Tokens, or Latents of a
            continuous tokenizer.
        vocabulary: the ids of all codes; None for the vocabulary of the codebooks of this data set.
        with_meta: give items as Examples, with their keys and metadata.
        order: "stored", that of shards and rows, which is fast to read; or "source", the order of the manifest, of the
            sorted names of files, or of rows.
        allow_missing: load the shards that are finished, even if others are missing.

    Raises:
        InputError: for a folder without shards, with missing shards or with shards of different data sets; for ids of
            latents; and for an unknown order or pattern.
        MediaError: for a damaged shard.
    """
    if ids is not None:
        check_pattern(ids)
    if order not in get_args(Order):
        raise InputError(f"expected an order of {', '.join(get_args(Order))}, got {order!r}")
    files = [read_shard(path) for path in _finished(folder, allow_missing)]
    info = files[0].info
    for file in files:
        if file.info != info:
            raise InputError(
                f"expected shards of one data set, got {quoted(files[0].path)} of {_model(info)} and "
                f"{quoted(file.path)} of {_model(file.info)}; move those of one away"
            )
    if info.kind == "codes":
        vocabulary_of_ids = vocabulary or Vocabulary(codebook_sizes(info.radices))
    elif ids is not None:
        raise InputError(f"expected codes for ids, got continuous latents in {quoted(folder)}; leave ids out")
    else:
        vocabulary_of_ids = None
    if ids is None and vocabulary is not None:
        raise InputError("expected ids with a vocabulary, got only a vocabulary; give for example ids='delayed'")
    convert: Callable[[TokenizedItem], Any] = partial(_to_tokens, info)
    if ids is not None and vocabulary_of_ids is not None:
        convert = partial(_to_ids, ids, vocabulary_of_ids)
    if with_meta:
        convert = partial(_to_example, convert)
    return TokenData(files, convert, vocabulary_of_ids, order)


class TokenData(Dataset[T_co], Generic[T_co]):
    """The items of shards, by index. A few row groups are kept in memory; copies in other processes start empty.

    Args:
        files: shards of one data set.
        convert: makes what `data[index]` returns from a TokenizedItem.
        vocabulary: of the ids; None for latents.
        order: of the indices, as `load` takes it.
    """

    def __init__(
        self,
        files: Sequence[ShardFile],
        convert: Callable[[TokenizedItem], T_co],
        vocabulary: Vocabulary | None,
        order: Order = "stored",
    ) -> None:
        self.files, self._convert, self._vocabulary = tuple(files), convert, vocabulary
        self._places: NDArray[np.int64] | None = None  # of items in shards, by index
        if order == "source":
            self._places = np.argsort(np.concatenate([file.numbers() for file in files]), kind="stable")
        self.groups = [(file, index) for file in range(len(files)) for index in range(len(files[file].groups))]
        self.starts = [0, *accumulate(files[file].groups[index] for file, index in self.groups)]  # of groups
        self._cache: OrderedDict[int, RowGroup] = OrderedDict()

    @property
    def info(self) -> DatasetInfo:
        """What all items have in common."""
        return self.files[0].info

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the ids, or of the codebooks where items are Tokens. Raises InputError for latents."""
        if self._vocabulary is None:
            raise InputError(f"expected codes for a vocabulary, got continuous latents of {self.info.model}")
        return self._vocabulary

    @property
    def columns(self) -> tuple[str, ...]:
        """Names in the metadata of the items, sorted."""
        return tuple(sorted({name for file in self.files for name in file.metadata.meta_types}))

    def __len__(self) -> int:
        return self.starts[-1]

    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> list[T_co]: ...
    def __getitem__(self, index: int | slice) -> T_co | list[T_co]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self._convert(self.item(index))

    def __iter__(self) -> Iterator[T_co]:
        return (self[index] for index in range(len(self)))

    def item(self, index: int) -> TokenizedItem:
        """An item as it is stored. Raises IndexError beyond the last item."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"expected an index below {len(self)}, the number of items, got {index}")
        place = index % len(self)
        return self._stored(place if self._places is None else int(self._places[place]))

    def stored(self, place: int) -> T_co:
        """The item at a place in the shards, whatever the order of the indices."""
        return self._convert(self._stored(place))

    def _stored(self, place: int) -> TokenizedItem:
        group = bisect_right(self.starts, place) - 1
        file = self.files[self.groups[group][0]]
        if group not in self._cache:
            self._cache[group] = file.group(self.groups[group][1])
            if len(self._cache) > CACHED_GROUPS:
                self._cache.popitem(last=False)
        self._cache.move_to_end(group)
        return file.checked(self._cache[group].item, place - self.starts[group])

    def metadata(self, index: int) -> Mapping[str, Json]:
        """The other columns of the source for an item."""
        return self.item(index).meta

    @cached_property
    def keys(self) -> Sequence[str]:
        """The keys of all items."""
        stored = [key for file in self.files for key in file.keys()]  # noqa: SIM118
        return stored if self._places is None else [stored[place] for place in self._places]

    def index(self, key: str) -> int:
        """The index of the item with a key. Raises InputError where there is none."""
        if key not in self._indices:
            first = next(iter(self.keys), None)
            raise InputError(f"expected the key of an item, such as {first!r}, got {key!r}")
        return self._indices[key]

    def by_key(self, key: str) -> T_co:
        """The item with a key. Raises InputError where there is none."""
        return self[self.index(key)]

    @cached_property
    def _indices(self) -> Mapping[str, int]:
        return {key: index for index, key in enumerate(self.keys)}

    def unflatten(
        self,
        ids: Ids,
        pattern: Pattern,
        vocabulary: Vocabulary | None = None,
        groups: int = 1,
        inner: tuple[int, ...] = (),
        frame_rate: FrameRate | None = None,
    ) -> Tokens:
        """Tokens from new ids, as a language model generates them, for a signal of the size that they fill.

        Args:
            ids: as `Tokens.flatten` gives them, without begin and end; a tensor, an array or lists of integers.
            pattern: that of the ids.
            vocabulary: that of the ids; None for `data.vocabulary`.
            groups: groups of channels that are coded side by side: 2 for ids of a stereo item of a mono codec.
            inner: sizes of the axes of the latent grid after the first: () for audio, (W,) for images, (H, W) for
                video.
            frame_rate: for video, the frames per second of the new clip.

        Raises:
            InputError: for ids that no tokens of this data set give; it says where. For video without a frame rate.
        """
        info = self.info
        if len(inner) != len(info.strides) - 1:
            raise InputError(
                f"expected inner={len(info.strides) - 1} sizes of the latent grid after the first axis, got {inner}; "
                "for an image of rows of 16 positions: inner=(16,), for a clip of frames of 16 × 16: inner=(16, 16)"
            )
        if info.medium == "video" and frame_rate is None:
            raise InputError("expected a frame rate for video, got None; give frame_rate=25 for 25 frames per second")
        if info.medium != "video" and frame_rate is not None:
            raise InputError(f"expected no frame rate for {info.medium}, got {shortened(frame_rate)}; leave it out")
        codes = unflatten_ids(ids, pattern, vocabulary or self.vocabulary, info.depth, groups, inner)
        rate = (info.sample_rate or 0) if frame_rate is None else as_rate(frame_rate)
        extent = medium_named(info.medium).extent.of_grid(
            tuple(codes.shape[2:]), info.strides, groups * info.channels, rate
        )
        return Tokens(codes, info.radices, extent, info.model, info.fingerprint, info.quality_index)

    def __getstate__(self) -> dict[str, object]:
        """What is sent to another process: no rows."""
        return self.__dict__ | {"_cache": OrderedDict()}


def _to_tokens(info: DatasetInfo, item: TokenizedItem) -> Tokens | Latents:
    values = torch.from_numpy(np.array(item.values, order="C"))
    attached = {} if item.times is None else {TIMES: times_attachment(item.times)}
    if info.kind == "latents":
        return Latents(values, item.extent, info.model, info.fingerprint, attached)
    return Tokens(values.long(), info.radices, item.extent, info.model, info.fingerprint, info.quality_index, attached)


def _to_example(convert: Callable[[TokenizedItem], T_co], item: TokenizedItem) -> Example[T_co]:
    return Example(item.key, convert(item), item.meta)


def _to_ids(pattern: Pattern, vocabulary: Vocabulary, item: TokenizedItem) -> Tensor:
    return flatten_codes(torch.from_numpy(np.array(item.values, order="C")), pattern, vocabulary)


def _finished(folder: StrPath, allow_missing: bool) -> list[str]:
    """Paths of the finished shards in a folder, in order."""
    try:
        found = {match[0]: match for name in os.listdir(folder) if (match := NAME.fullmatch(name))}
    except OSError as error:
        raise InputError(
            f"expected a folder with token shards, got {quoted(folder)} ({error.strerror}); check the path"
        ) from error
    if not found:
        raise InputError(
            f"expected token shards in {quoted(folder)}, got none; make them with: codec tokenize DATA -o {folder}"
        )
    counts = {int(match[2]): name for name, match in sorted(found.items())}
    if len(counts) > 1:
        names = " and ".join(list(counts.values())[:2])
        raise InputError(f"expected shards of one run in {quoted(folder)}, got {names}; move those of one run away")
    count = next(iter(counts))
    numbers = {int(match[1]): name for name, match in found.items() if int(match[1]) < count}
    if len(numbers) < count and not allow_missing:
        raise InputError(
            f"expected {count} shards in {quoted(folder)}, got {len(numbers)}; run the same codec tokenize again, "
            "which resumes, or load those that are there with --allow-missing (in Python allow_missing=True)"
        )
    return [os.path.join(folder, numbers[number]) for number in sorted(numbers)]


def _model(info: DatasetInfo) -> str:
    quality = "" if info.quality_index is None else f", quality index {info.quality_index}"
    return f"{info.model} ({info.fingerprint}, depth {info.depth}{quality})"
