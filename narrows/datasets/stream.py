"""Token shards for training as a stream: shuffled, split over ranks and workers, resumable."""

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from narrows.datasets.reader import TokenData
from narrows.errors import InputError

T_co = TypeVar("T_co", covariant=True)


class TokenStream(IterableDataset[T_co], Generic[T_co]):
    """The items of a TokenData once per epoch, shuffled, split over `world` ranks and their DataLoader workers.

    The order of row groups is drawn from (seed, epoch) and cut into a part for each worker of each rank. Parts, and
    what ranks get, differ by at most one item in length. Within a part, items are shuffled in windows of `window`
    items, which are in memory together.

    All ranks need the same number of workers. Call `set_epoch` before each epoch. `state_dict` records how far an
    iteration came: in this process or, under torchdata's StatefulDataLoader, in each worker.

    It has no length, since a DataLoader would take it for that of all workers together and each of them makes batches
    of its own part: see `num_items` and `num_batches`.

    Args:
        data: the items.
        seed: of the order, from 0.
        rank, world: number of this rank, from 0, and of all ranks.
        window: items that are shuffled together, from 1.

    Raises:
        InputError: for numbers out of range.
    """

    def __init__(self, data: TokenData[T_co], seed: int = 0, rank: int = 0, world: int = 1, window: int = 4096) -> None:
        numbers = (seed, rank, world, window)
        if any(type(number) is not int for number in numbers) or not 0 <= rank < world or window < 1 or seed < 0:
            raise InputError(
                "expected integers: a rank from 0 below world, a window from 1, a seed from 0; got "
                f"rank {rank} of {world}, window {window}, seed {seed}"
            )
        self.data, self.seed, self.rank, self.world, self.window = data, seed, rank, world, window
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # persistent workers see it change
        self._taken = self._parts = 0  # of the latest iteration; 0 parts before the first
        self._resumed: Mapping[str, int] = {}

    @property
    def num_items(self) -> int:
        """Items per epoch of this rank, with any number of workers."""
        first, last = self._part(self.rank, self.world)
        return last - first

    def num_batches(self, batch_size: int, workers: int = 0, drop_last: bool = False) -> int:
        """Batches per epoch that a DataLoader with these arguments makes on this rank.

        Ranks may differ by one per worker. Raises InputError for numbers out of range.
        """
        if type(batch_size) is not int or type(workers) is not int or batch_size < 1 or workers < 0:
            raise InputError(f"expected a batch size from 1 and workers from 0, got {batch_size} and {workers}")
        count = max(1, workers)
        parts = [self._part(self.rank * count + number, self.world * count) for number in range(count)]
        extra = 0 if drop_last else batch_size - 1
        return sum((last - first + extra) // batch_size for first, last in parts)

    def _part(self, part: int, parts: int) -> tuple[int, int]:
        """The first and the end of the items of a part, in the order of an epoch."""
        count = len(self.data)
        return count * part // parts, count * (part + 1) // parts

    def set_epoch(self, epoch: int) -> None:
        """Start the next iteration at the beginning of this epoch. Raises InputError for a number below 0."""
        if type(epoch) is not int or epoch < 0:
            raise InputError(f"expected an epoch as an integer from 0, got {epoch}")
        self._epoch.fill_(epoch)
        self._taken, self._resumed = 0, {}

    def state_dict(self) -> dict[str, int]:
        """The state after the last item that the latest iteration gave, for `load_state_dict`."""
        fixed = {"seed": self.seed, "window": self.window, "items": len(self.data)}
        return fixed | {"epoch": int(self._epoch), "parts": self._parts, "taken": self._taken}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Resume the next iteration at a state; later iterations start at the beginning.

        Raises InputError for a state of another seed, window or number of items, and for anything else than a state.
        """
        for name, value in self.state_dict().items():
            if type(state.get(name)) is not int or (name in ("seed", "window", "items") and state[name] != value):
                raise InputError(f"expected a state with {name} {value}, as this stream has, got {state.get(name)}")
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
                f"expected a state of {parts} parts, got one of {state['parts']}; use as many ranks and workers"
            )
        first, last = self._part(part, parts)
        self._parts, self._taken = parts, taken
        for begin in range(first + taken // self.window * self.window, last, self.window):
            places = self._places(epoch, begin, min(begin + self.window, last))
            items = [self.data.stored(place) for place in places]
            order = np.random.default_rng((self.seed, epoch, begin)).permutation(len(items))
            for index in order[taken - (begin - first) :]:
                taken += 1
                self._taken = taken
                yield items[index]
        self._taken = 0

    def _places(self, epoch: int, begin: int, end: int) -> list[int]:
        """Places of the items from `begin` to `end` in the order of groups of an epoch."""
        starts = np.array(self.data.starts)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(starts) - 1)
        ends = np.cumsum(np.diff(starts)[order])
        positions = np.arange(begin, end)
        group = np.searchsorted(ends, positions, side="right")
        return (starts[1:][order][group] - (ends[group] - positions)).tolist()
