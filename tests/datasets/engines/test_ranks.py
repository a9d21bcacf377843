from pathlib import Path

import pytest

from narrows.datasets.base import Location, Shard, SourceItem
from narrows.datasets.engines.ranks import Rank
from narrows.errors import InputError, NarrowsError

SHARDS = [Shard(index, 7, [SourceItem(f"k{index}", Location("p"))]) for index in range(7)]


def test_ranks_select_disjoint_shards() -> None:
    shares = [Rank(rank, 3).select(SHARDS) for rank in range(3)]
    assert sorted(shard.index for share in shares for shard in share) == list(range(7))


@pytest.mark.parametrize(("rank", "world"), [(3, 3), (-1, 2), (0, 0)])
def test_invalid_ranks_are_refused(rank: int, world: int) -> None:
    with pytest.raises(InputError, match="expected a rank from 0"):
        Rank(rank, world)


def test_other_errors_become_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(job: object) -> None:
        raise RuntimeError("CUDA error:\nout of memory")

    monkeypatch.setattr("narrows.datasets.engines.ranks.Worker", broken)
    with pytest.raises(NarrowsError, match="out of memory; shard 00000-of-00007 is not done") as error:
        Rank(0, 1).run(SHARDS, None, lambda _: None)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
