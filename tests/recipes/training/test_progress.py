from itertools import pairwise

import pytest

from narrows.recipes.training.progress import Progress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_at_growing_intervals_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = Progress(3000, 1000, clock=clock)
    asked = []
    for step in range(1001, 3001):
        clock.now += 0.5
        progress.step(step, lambda step=step: asked.append(step) or 1.25)  # type: ignore[misc]
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "step 1020 of 3000  loss 1.25  2 steps/s  0:16:30 left"
    assert lines[-1] == "step 3000 of 3000  loss 1.25  2 steps/s  0:00:00 left"
    steps = [int(line.split()[1]) for line in lines]
    assert steps == asked
    gaps = [second - first for first, second in pairwise(steps)]
    assert gaps[0] == 26  # 13 seconds
    assert max(gaps) == 120
    assert gaps[:-1] == sorted(gaps[:-1])


def test_time_between_steps_does_not_count_for_the_rate(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = Progress(3, 0, clock=clock)
    clock.now = 1.0
    progress.step(1, lambda: None)
    clock.now = 9.0
    progress.resume()
    for step in (2, 3):
        clock.now += 1.0
        progress.step(step, lambda: None)
    assert capsys.readouterr().err.splitlines() == [
        "step 2 of 3  1 steps/s  0:00:05 left",
        "step 3 of 3  1 steps/s  0:00:00 left",
    ]


def test_other_ranks_show_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Progress(1, 0, shown=False).step(1, lambda: 1.0)
    assert capsys.readouterr().err == ""
