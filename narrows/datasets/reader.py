"""Token shards for training: by index or key, or as a shuffled stream that many processes share.

folder ─▶ finished shards ─▶ load ─▶ TokenData[i] ─▶ Tokens, Latents or ids
                                        └─▶ TokenStream: the same items, shuffled, split over ranks and workers
"""

import os
import re
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import accumulate
from typing import Any, Generic, TypeVar, overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from narrows.datasets.base import Json, Made, Row
from narrows.datasets.columns import Columns
from narrows.datasets.shards import ShardFile, read_shard
from narrows.errors import InputError
from narrows.media.files import StrPath, quoted
from narrows.media.table import medium_named
from narrows.tokenizers.ids import Pattern, Vocabulary, flatten_codes, unflatten_ids
from narrows.tokenizers.tokens import Latents, Tokens

GROUPS = 4  # of rows that are kept in memory
NAME = re.compile(r"(\d{5,})-of-(\d{5,})\.parquet")
T_co = TypeVar("T_co", covariant=True)


Item = Tokens | Latents


@overload
def load(folder: StrPath, *, allow_missing: bool = False) -> "TokenData[Item]": ...
@overload
def load(
    folder: StrPath, *, ids: Pattern, vocabulary: Vocabulary | None = None, allow_missing: bool = False
) -> "TokenData[Tensor]": ...
def load(
    folder: StrPath,
    *,
    ids: Pattern | None = None,
    vocabulary: Vocabulary | None = None,
    allow_missing: bool = False,
) -> "TokenData[Any]":
    """The items of all finished shards of a folder, in the order of shards and rows.

    ids: items as ids for a language model, (S,) or (K, S), in this pattern, with a vocabulary of all codebooks unless
    one is given; else items are Tokens, or Latents of continuous tokenizers. allow_missing: take what is there.

    Raises InputError for a folder without shards, with some missing or of different data sets, and for ids of latents;
    MediaError for a damaged shard.
    """
    files = [read_shard(path) for path in _finished(folder, allow_missing)]
    made = files[0].made
    for file in files:
        if file.made != made:
            raise InputError(
                f"{quoted(files[0].path)} was made by {_maker(made)}, {quoted(file.path)} by {_maker(file.made)}; "
                "shards of one folder belong to one data set: move the others away"
            )
    if ids is None:
        if vocabulary is not None:
            raise InputError("a vocabulary given without ids; give a pattern such as ids='delayed' too")
        return TokenData(files, partial(item, made))
    if made.kind == "latents":
        raise InputError(f"ids were asked for, and {quoted(folder)} holds real numbers; leave ids out")
    return TokenData(files, partial(_ids, ids, vocabulary or vocabulary_of(made)))


def vocabulary_of(made: Made) -> Vocabulary:
    """Ids for all codebooks of a data set."""
    return Vocabulary(tuple(int(np.prod(digits, dtype=object)) for digits in made.radices))


class TokenData(Dataset[T_co], Generic[T_co]):
    """Items of shards by index. A few groups of rows are in memory; processes that it is sent to open files anew.

    files: shards of one data set. act: makes an item of a row.
    """

    def __init__(self, files: Sequence[ShardFile], act: Callable[[Row], T_co]) -> None:
        self.files, self._act = tuple(files), act
        self.groups = [(file, index) for file in range(len(files)) for index in range(len(files[file].groups))]
        self.starts = [0, *accumulate(files[file].groups[index] for file, index in self.groups)]  # of groups
        self._held: OrderedDict[int, Columns] = OrderedDict()

    @property
    def made(self) -> Made:
        """What is the same for all items."""
        return self.files[0].made

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> T_co:
        return self._act(self.row(index))

    def row(self, index: int) -> Row:
        """An item as it is stored: key, codes or latents, extent, meta. Raises IndexError beyond the last item."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"item {index} asked for, there are {len(self)}")
        group = bisect_right(self.starts, index % len(self)) - 1
        file = self.files[self.groups[group][0]]
        if group not in self._held:
            self._held[group] = file.group(self.groups[group][1])
            if len(self._held) > GROUPS:
                self._held.popitem(last=False)
        self._held.move_to_end(group)
        return file.checked(self._held[group].row, index % len(self) - self.starts[group])

    def metadata(self, index: int) -> Mapping[str, Json]:
        """What the source said of an item."""
        return self.row(index).meta

    @cached_property
    def keys(self) -> Sequence[str]:
        """The keys of all items."""
        return [key for file in self.files for key in file.keys()]  # noqa: SIM118

    def index(self, key: str) -> int:
        """Of the item with a key. Raises InputError where there is none."""
        if key not in self._places:
            first = next(iter(self.keys), None)
            raise InputError(f"no item has the key {key!r}; the first of {len(self)} is {first!r}")
        return self._places[key]

    def by_key(self, key: str) -> T_co:
        """The item with a key. Raises InputError where there is none."""
        return self[self.index(key)]

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {key: index for index, key in enumerate(self.keys)}

    def unflatten(
        self,
        ids: Tensor,
        pattern: Pattern,
        vocabulary: Vocabulary | None = None,
        groups: int = 1,
        inner: tuple[int, ...] = (),
    ) -> Tokens:
        """Tokens of new ids, as a language model generates them, for a signal of the size that they fill.

        Args:
            ids: as `Tokens.flatten` gives them, without begin and end.
            pattern, vocabulary: those of the ids.
            groups: groups of channels that are coded side by side.
            inner: sizes of the axes of the latent grid after the first: () for audio, (W,) for images.

        Raises:
            InputError: for ids that no tokens of this data set give; it says where.
        """
        made = self.made
        if len(inner) != len(made.strides) - 1:
            raise InputError(
                f"expected inner={len(made.strides) - 1} sizes of the latent grid after the first axis, got {inner}; "
                "for an image of rows of 16 positions: inner=(16,)"
            )
        codes = unflatten_ids(ids, pattern, vocabulary or vocabulary_of(made), made.books, groups, inner)
        size = tuple(stride * count for stride, count in zip(made.strides, codes.shape[2:], strict=True))
        extent = medium_named(made.medium).extent.of(size, groups * made.channels, made.rate)
        return Tokens(codes, made.radices, extent, made.model, made.fingerprint, made.quality_index)

    def __getstate__(self) -> dict[str, object]:
        """What travels to another process: no rows."""
        return self.__dict__ | {"_held": OrderedDict()}


class TokenStream(IterableDataset[T_co], Generic[T_co]):
    """The items of a TokenData once an epoch, shuffled, split over `world` ranks and their DataLoader workers.

    Groups of rows are put in an order drawn from (seed, epoch) and cut into a part for each worker of each rank; sizes
    of parts, and of what ranks get, differ by one item at most. Parts are shuffled within windows of so many items,
    which are in memory together.
    All ranks use the same number of workers. `set_epoch` before each epoch. `state_dict` tells how far an iteration
    came, of one process or, under torchdata's StatefulDataLoader, of each worker.
    """

    def __init__(self, data: TokenData[T_co], seed: int = 0, rank: int = 0, world: int = 1, window: int = 4096) -> None:
        numbers = (seed, rank, world, window)
        if any(type(each) is not int for each in numbers) or not 0 <= rank < world or window < 1 or seed < 0:
            raise InputError(
                f"rank {rank} of {world}, window {window}, seed {seed} given; whole numbers wanted: rank below world, "
                "window from 1, seed from 0"
            )
        self.data, self.seed, self.rank, self.world, self.window = data, seed, rank, world, window
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers that go on see it change
        self._taken = self._parts = 0  # of the latest iteration; no parts before any
        self._resumed: Mapping[str, int] = {}

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is of this epoch, from its beginning. Raises InputError for a number below 0."""
        if type(epoch) is not int or epoch < 0:
            raise InputError(f"epoch {epoch} given, a whole number from 0 wanted")
        self._epoch.fill_(epoch)
        self._taken, self._resumed = 0, {}

    def state_dict(self) -> dict[str, int]:
        """What `load_state_dict` takes to go on after the last item that the latest iteration gave."""
        told = {"seed": self.seed, "window": self.window, "items": len(self.data)}
        return told | {"epoch": int(self._epoch), "parts": self._parts, "taken": self._taken}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """The next iteration goes on where the state was taken, those after it begin at the beginning.

        Raises InputError for a state of another seed, window or number of items, and for what is none.
        """
        for name, value in self.state_dict().items():
            if type(state.get(name)) is not int or (name in ("seed", "window", "items") and state[name] != value):
                raise InputError(f"a state with {name} {state.get(name)} given, the stream has {value}")
        self.set_epoch(state["epoch"])
        self._taken, self._parts, self._resumed = state["taken"], state["parts"], dict(state)

    def __iter__(self) -> Iterator[T_co]:
        worker = get_worker_info()
        workers, number = (worker.num_workers, worker.id) if worker else (1, 0)
        part, parts, epoch = self.rank * workers + number, self.world * workers, int(self._epoch)
        state, self._resumed = self._resumed, {}
        taken = state.get("taken", 0)
        if taken and state["parts"] != parts:
            raise InputError(
                f"a state of {state['parts']} parts given, there are {parts}; use as many ranks and workers"
            )
        count = len(self.data)
        first, last = count * part // parts, count * (part + 1) // parts
        self._parts, self._taken = parts, taken
        for begin in range(first + taken // self.window * self.window, last, self.window):
            places = self._places(epoch, begin, min(begin + self.window, last))
            items = [self.data[place] for place in places]
            order = np.random.default_rng((self.seed, epoch, begin)).permutation(len(items))
            for each in order[taken - (begin - first) :]:
                taken += 1
                self._taken = taken
                yield items[each]
        self._taken = 0

    def _places(self, epoch: int, begin: int, end: int) -> list[int]:
        """Indices of the items from `begin` to `end` in the order of groups of an epoch."""
        starts = np.array(self.data.starts)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(starts) - 1)
        ends = np.cumsum(np.diff(starts)[order])
        found = np.arange(begin, end)
        which = np.searchsorted(ends, found, side="right")
        return (starts[1:][order][which] - (ends[which] - found)).tolist()


def item(made: Made, row: Row) -> Item:
    """Tokens or Latents of a row."""
    values = torch.from_numpy(np.array(row.values, order="C"))
    if made.kind == "latents":
        return Latents(values, row.extent, made.model, made.fingerprint)
    return Tokens(values.long(), made.radices, row.extent, made.model, made.fingerprint, made.quality_index)


def _ids(pattern: Pattern, vocabulary: Vocabulary, row: Row) -> Tensor:
    return flatten_codes(torch.from_numpy(np.array(row.values, order="C")), pattern, vocabulary)


def _finished(folder: StrPath, allow_missing: bool) -> list[str]:
    """Paths of the shards of a folder, in order."""
    try:
        found = {match[0]: match for name in os.listdir(folder) if (match := NAME.fullmatch(name))}
    except OSError as error:
        raise InputError(f"no folder {quoted(folder)} with token shards ({error.strerror}); check the path") from error
    if not found:
        raise InputError(f"{quoted(folder)} has no token shards; make them with: codec tokenize DATA -o {folder}")
    counts = {int(match[2]): name for name, match in sorted(found.items())}
    if len(counts) > 1:
        names = " and ".join(list(counts.values())[:2])
        raise InputError(f"{quoted(folder)} has {names}, shards of different runs; move those of one run away")
    count = next(iter(counts))
    numbers = {int(match[1]): name for name, match in found.items() if int(match[1]) < count}
    if len(numbers) < count and not allow_missing:
        raise InputError(
            f"{count - len(numbers)} of {count} shards are missing in {quoted(folder)}; run the same codec tokenize "
            "again, which goes on, or take what is there with --allow-missing (in Python allow_missing=True)"
        )
    return [os.path.join(folder, numbers[number]) for number in sorted(numbers)]


def _maker(made: Made) -> str:
    setting = "" if made.quality_index is None else f", quality index {made.quality_index}"
    return f"{made.model} ({made.fingerprint}, {made.books} books{setting})"
