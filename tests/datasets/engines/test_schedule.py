from collections.abc import Mapping

import pytest

from narrows.datasets.base import Entry, Place, Shard
from narrows.datasets.engines.schedule import Lost, schedule
from narrows.datasets.work import Done
from narrows.errors import MediaError, NarrowsError

SHARDS = [Shard(index, 7, [Entry(f"k{index}", Place("p"))]) for index in range(7)]


class Crew:
    """Hands that are killed at their first, second, ... result where `deaths` has its number."""

    def __init__(self, deaths: set[int] = frozenset(), fault: NarrowsError | None = None) -> None:  # type: ignore[assignment]
        self.deaths, self.fault, self.results, self.hired, self.ended = deaths, fault, 0, list[int](), 0

    def hire(self, number: int) -> "_Hand":
        self.hired.append(number)
        return _Hand(self)


class _Hand:
    def __init__(self, crew: Crew) -> None:
        self.crew = crew

    def begin(self, shard: Shard) -> None:
        self.shard = shard

    def result(self) -> Done:
        self.crew.results += 1
        if self.crew.results in self.crew.deaths:
            raise Lost
        if self.crew.fault is not None:
            raise self.crew.fault
        return Done(self.shard.index, 1, 0, 1.0, 1.0, 1.0)

    def end(self) -> None:
        self.crew.ended += 1


def nowhere(shard: Shard) -> None:
    """No worker came so far as to an item."""


def last(hands: Mapping[int, _Hand]) -> list[int]:
    return [max(hands)]


@pytest.mark.parametrize("workers", [1, 3, 20])
@pytest.mark.parametrize("deaths", [set[int](), {1}, {3, 4}])
def test_every_shard_is_done_once_whoever_dies(workers: int, deaths: set[int]) -> None:
    crew, done = Crew(deaths), list[int]()
    schedule(SHARDS, workers, crew.hire, last, lambda each: done.append(each.shard), nowhere)
    assert sorted(done) == list(range(7))
    assert crew.ended == len(crew.hired) == min(workers, 7) + len(deaths)
    assert set(crew.hired) == set(range(min(workers, 7)))


def test_a_shard_that_kills_three_workers_is_told_when_all_others_are_done() -> None:
    crew, done = Crew({2, 3, 4}), list[int]()
    with pytest.raises(NarrowsError, match=r"^1 of 7 shards .* of 00001-of-00007, 'k1' to 'k1', were killed 3"):
        schedule(SHARDS, 1, crew.hire, last, lambda each: done.append(each.shard), nowhere)
    assert done == [0, 2, 3, 4, 5, 6]
    assert crew.ended == len(crew.hired) == 4


def test_a_run_whose_workers_are_always_killed_ends() -> None:
    crew = Crew(set(range(100)))
    with pytest.raises(NarrowsError, match="7 of 7 shards are not done"):
        schedule(SHARDS, 2, crew.hire, last, lambda _: None, nowhere)
    assert crew.ended == len(crew.hired) < 20


def test_an_item_that_kills_its_workers_is_left_out() -> None:
    class Fragile(_Hand):
        def result(self) -> Done:
            seen.append(self.shard)
            if self.shard.index == 3 and 1 not in self.shard.without:
                raise Lost
            return super().result()

    shards = [Shard(index, 7, [Entry(f"k{index}{place}", Place("p")) for place in range(3)]) for index in range(7)]
    crew, done, seen = Crew(), list[int](), list[Shard]()
    hire = lambda number: (crew.hire(number), Fragile(crew))[1]  # noqa: E731
    schedule(shards, 2, hire, last, lambda each: done.append(each.shard), lambda shard: 1 if shard.careful else None)
    assert sorted(done) == list(range(7))
    tried = [shard for shard in seen if shard.index == 3]
    assert [(shard.careful, [*shard.without]) for shard in tried] == [(False, []), (True, []), (True, []), (True, [1])]
    assert "killed 2 times" in tried[-1].without[1]


def test_what_stops_a_shard_stops_the_run_and_all_hands_go() -> None:
    crew = Crew(fault=MediaError("full"))
    with pytest.raises(MediaError, match="full"):
        schedule(SHARDS, 2, crew.hire, last, lambda _: None, nowhere)
    assert crew.ended == 2
