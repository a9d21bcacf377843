from collections.abc import Mapping

import pytest

from narrows.datasets.base import Location, Shard, SourceItem
from narrows.datasets.engines.schedule import WorkerKilled, schedule
from narrows.datasets.worker import ShardResult
from narrows.errors import MediaError, NarrowsError

SHARDS = [Shard(index, 7, [SourceItem(f"k{index}", Location("p"))]) for index in range(7)]


class Workers:
    """Starts workers, which are killed at their first, second, ... result if its number is in `deaths`."""

    def __init__(self, deaths: set[int] = frozenset(), fault: NarrowsError | None = None) -> None:  # type: ignore[assignment]
        self.deaths, self.fault, self.results, self.started, self.stopped = deaths, fault, 0, list[int](), 0

    def start(self, number: int) -> "_Handle":
        self.started.append(number)
        return _Handle(self)


class _Handle:
    def __init__(self, pool: Workers) -> None:
        self.pool = pool

    def submit(self, shard: Shard) -> None:
        self.shard = shard

    def result(self) -> ShardResult:
        self.pool.results += 1
        if self.pool.results in self.pool.deaths:
            raise WorkerKilled
        if self.pool.fault is not None:
            raise self.pool.fault
        return ShardResult(self.shard.index, 1, 0, 1.0, 1.0, 1.0)

    def stop(self) -> None:
        self.pool.stopped += 1


def no_item(shard: Shard) -> None:
    """No worker recorded an item."""


def last(handles: Mapping[int, _Handle]) -> list[int]:
    return [max(handles)]


@pytest.mark.parametrize("workers", [1, 3, 20])
@pytest.mark.parametrize("deaths", [set[int](), {1}, {3, 4}])
def test_every_shard_is_done_once(workers: int, deaths: set[int]) -> None:
    pool, done = Workers(deaths), list[int]()
    schedule(SHARDS, workers, pool.start, last, lambda each: done.append(each.shard), no_item)
    assert sorted(done) == list(range(7))
    assert pool.stopped == len(pool.started) == min(workers, 7) + len(deaths)
    assert set(pool.started) == set(range(min(workers, 7)))


def test_a_shard_that_kills_three_workers_is_reported_after_the_others() -> None:
    pool, done = Workers({2, 3, 4}), list[int]()
    with pytest.raises(NarrowsError, match=r"^1 of 7 shards .* of 00001-of-00007, 'k1' to 'k1', were killed 3"):
        schedule(SHARDS, 1, pool.start, last, lambda each: done.append(each.shard), no_item)
    assert done == [0, 2, 3, 4, 5, 6]
    assert pool.stopped == len(pool.started) == 4


def test_a_run_whose_workers_are_always_killed_ends() -> None:
    pool = Workers(set(range(100)))
    with pytest.raises(NarrowsError, match="7 of 7 shards are not done"):
        schedule(SHARDS, 2, pool.start, last, lambda _: None, no_item)
    assert pool.stopped == len(pool.started) < 20


def test_an_item_that_kills_its_workers_is_skipped() -> None:
    class Fragile(_Handle):
        def result(self) -> ShardResult:
            seen.append(self.shard)
            if self.shard.index == 3 and 1 not in self.shard.skipped:
                raise WorkerKilled
            return super().result()

    shards = [
        Shard(index, 7, [SourceItem(f"k{index}{item}", Location("p")) for item in range(3)]) for index in range(7)
    ]
    pool, done, seen = Workers(), list[int](), list[Shard]()
    start = lambda number: (pool.start(number), Fragile(pool))[1]  # noqa: E731
    schedule(
        shards, 2, start, last, lambda each: done.append(each.shard), lambda shard: 1 if shard.one_by_one else None
    )
    assert sorted(done) == list(range(7))
    tried = [shard for shard in seen if shard.index == 3]
    assert [(shard.one_by_one, [*shard.skipped]) for shard in tried] == [
        (False, []),
        (True, []),
        (True, []),
        (True, [1]),
    ]
    assert "killed 2 times" in tried[-1].skipped[1]


def test_errors_stop_the_run_and_all_workers() -> None:
    pool = Workers(fault=MediaError("full"))
    with pytest.raises(MediaError, match="full"):
        schedule(SHARDS, 2, pool.start, last, lambda _: None, no_item)
    assert pool.stopped == 2
