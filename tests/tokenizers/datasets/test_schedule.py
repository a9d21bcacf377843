from collections.abc import Mapping

import pytest

from narrows.errors import MediaError, NarrowsError
from narrows.tokenizers.datasets.base import Entry, Place, Shard
from narrows.tokenizers.datasets.schedule import Lost, schedule
from narrows.tokenizers.datasets.work import Done

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


def last(hands: Mapping[int, _Hand]) -> list[int]:
    return [max(hands)]


@pytest.mark.parametrize("workers", [1, 3, 20])
@pytest.mark.parametrize("deaths", [set[int](), {1}, {3, 4}])
def test_every_shard_is_done_once_whoever_dies(workers: int, deaths: set[int]) -> None:
    crew, done = Crew(deaths), list[int]()
    schedule(SHARDS, workers, crew.hire, last, lambda each: done.append(each.shard))
    assert sorted(done) == list(range(7))
    assert crew.ended == len(crew.hired) == min(workers, 7) + len(deaths)
    assert set(crew.hired) == set(range(min(workers, 7)))


def test_a_shard_that_kills_three_workers_stops_the_run_by_name() -> None:
    crew, done = Crew({2, 3, 4}), list[Done]()
    with pytest.raises(NarrowsError, match=r"00001-of-00007, 'k1' to 'k1': its worker was killed 3 times.*; "):
        schedule(SHARDS, 1, crew.hire, last, done.append)
    assert [each.shard for each in done] == [0]
    assert crew.ended == len(crew.hired) == 3


def test_what_stops_a_shard_stops_the_run_and_all_hands_go() -> None:
    crew = Crew(fault=MediaError("full"))
    with pytest.raises(MediaError, match="full"):
        schedule(SHARDS, 2, crew.hire, last, lambda _: None)
    assert crew.ended == 2
