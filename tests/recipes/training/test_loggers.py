import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from narrows.errors import InputError
from narrows.media.image import Image
from narrows.recipes.training.audio import AudioRecipe
from narrows.recipes.training.loggers import TensorBoard, check_logger
from narrows.recipes.training.run import run
from narrows.report.embedding import MediaSample

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def test_tensorboard_gets_the_values_of_metrics_jsonl(tiny: Callable[..., AudioRecipe], tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(tiny(), tmp_path, logger="tensorboard")
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("valid/spectral")] == [3, 6, 7]
    assert {"loss", "spectral"} <= set(events.Tags()["scalars"])
    assert {f"samples/{item}/{name}" for item in (1, 2) for name in ("original", "decoded")} == set(
        events.Tags()["audio"]
    )
    assert [event.step for event in events.Audio("samples/2/decoded")] == [3, 6, 7]


def test_tensorboard_gets_images(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = TensorBoard(tmp_path, 0)
    image = Image(np.zeros((3, 4, 5), np.uint8))
    logger.log_samples([MediaSample("1", image, {"quality 2": image})], 8)
    logger.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(events.Tags()["images"]) == {"samples/1/original", "samples/1/quality 2"}


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
