from collections.abc import Callable
from pathlib import Path

import pytest
from jsonargparse import auto_cli

from narrows.errors import InputError
from narrows.recipes.settings import AdamW, Adversarial, AudioData, ImageData, Schedule


def test_learning_rate_rises_stays_and_falls() -> None:
    schedule = Schedule(steps=1000, warmup_steps=10, decay_fraction=0.5, final_lr_fraction=0.1)
    fractions = [schedule.lr_fraction(step) for step in (0, 4, 9, 500, 750, 999)]
    assert fractions == pytest.approx([0.1, 0.5, 1.0, 1.0, 0.5, 0.1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Schedule(steps=-1), "expected steps of at least 0, got -1"),
        (lambda: Schedule(validate_every=0), "expected validate_every of at least 1"),
        (lambda: Schedule(decay_fraction=1.5), "expected decay_fraction from 0 to 1, got 1.5"),
        (lambda: AdamW(lr=float("nan")), "expected lr of at least 0, got nan"),
        (lambda: AdamW(lr=float("inf")), "expected lr of at least 0, got inf"),
        (lambda: AdamW(betas=(0.9, 1.5)), "expected betas from 0 to 1"),
        (lambda: Adversarial(width=1), "expected width of at least 2"),
        (lambda: AudioData(batch_size=0), "expected batch_size of at least 1"),
        (lambda: AudioData(seconds=0), "expected seconds of at least 0.001"),
        (lambda: AudioData(speeds=()), "expected at least one speed"),
        (lambda: AudioData(speeds=(0.01,)), "expected speeds of at least 0.1"),
        (lambda: ImageData(crop_size=16), "expected crop_size of at least 32, got 16"),
    ],
)
def test_settings_out_of_range_are_rejected(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("argument", "expected"),
    [("a b", Path("a b")), ("[a]", (Path("a"),)), ("[a, 'b c/*.tar']", (Path("a"), Path("b c/*.tar")))],
)
@pytest.mark.parametrize("settings", [AudioData, ImageData])
def test_sources_on_the_command_line(argument: str, expected: object, settings: type[AudioData | ImageData]) -> None:
    made = auto_cli(settings, args=["--train", argument, "--valid", argument], as_positional=False)
    assert (made.train, made.valid) == (expected, expected)
