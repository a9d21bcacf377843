from narrows.tokenizers.batches import Batches


def test_only_one_kind_meets_and_what_is_left_runs_at_the_end() -> None:
    groups, found = list[list[str]](), dict[str, str]()

    def run(things: list[str]) -> list[str]:
        groups.append(things)
        return [thing.upper() for thing in things]

    batches = Batches(run, 2)
    for thing in ("a", "bb", "c", "dd", "e", "fff"):
        batches.add(len(thing), thing, lambda result, of=thing: found.update({of: result}))  # type: ignore[misc]
    assert groups == [["a", "c"], ["bb", "dd"]]
    batches.finish()
    assert groups[2:] == [["e"], ["fff"]]
    assert found == {thing: thing.upper() for thing in ("a", "c", "bb", "dd", "e", "fff")}
    batches.finish()
    assert len(groups) == 4
