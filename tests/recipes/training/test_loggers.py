import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from narrows.errors import InputError
from narrows.recipes.training.audio import AudioRecipe
from narrows.recipes.training.loggers import check_logger
from narrows.recipes.training.run import run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def test_tensorboard_gets_the_values_of_metrics_jsonl(tiny: Callable[..., AudioRecipe], tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(tiny(), tmp_path, logger="tensorboard")
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("valid/spectral")] == [3, 6, 7]
    assert {"loss", "spectral"} <= set(events.Tags()["scalars"])


@pytest.mark.slow
def test_wandb_works_offline_and_goes_on_in_one_run(
    tiny: Callable[..., AudioRecipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    recipe = tiny()
    run(recipe, tmp_path, logger="wandb")
    run(tiny(name="other"), tmp_path, logger="wandb", change=True)
    folders = [path.name for path in (tmp_path / "wandb").glob("offline-run-*")]
    assert len({name.rpartition("-")[2] for name in folders}) == 1
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=f"^expected the package {name}, got none; pip install {name}$"):
        check_logger(name)


def test_an_unknown_logger_is_refused() -> None:
    with pytest.raises(InputError, match="expected a logger of none, tensorboard, wandb, got 'mlflow'"):
        check_logger("mlflow")
