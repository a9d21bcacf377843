"""recipe.json: what it says, and which other settings a resumed run is refused."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from narrows.codecs import FSQ, Codec, FrameDecoder, FrameEncoder
from narrows.errors import InputError, PartError
from narrows.recipes.losses.backbone import Backbone
from narrows.recipes.losses.stft import MultiResolutionSTFTLoss
from narrows.recipes.settings import AdamW, Adversarial, Schedule
from narrows.recipes.training.audio import AudioRecipe
from narrows.recipes.training.record import as_text, describe, differences
from narrows.recipes.training.run import run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
Recipes = Callable[..., AudioRecipe]
SPECTRAL = MultiResolutionSTFTLoss(16_000, [(512, 40)])
SCHEDULE = Schedule(steps=2, validate_every=2, warmup_steps=2, decay_fraction=0.0)


class Loss(nn.Module):
    def __init__(self, scale: float, seed: int = 0) -> None:
        super().__init__()
        self.scale, self._power = scale, 2
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("window", torch.rand(5, generator=generator), persistent=False)
        self.register_buffer("state", torch.rand(3), persistent=True)
        self.weight = nn.Parameter(torch.rand(2, 3))

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self.scale * (x - target).abs().mean()


def record(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "recipe.json").read_text())
    return read


@pytest.fixture
def finished(tiny: Recipes, tmp_path: Path) -> Path:
    """The folder of a run of two steps."""
    return run(tiny(schedule=SCHEDULE), tmp_path / "run", target="tiny").parent


def test_a_record_has_all_settings_and_what_was_found(finished: Path, vowels: Path) -> None:
    found = record(finished)
    assert found["target"] == "tiny"
    assert (found["devices"], found["init"], found["smoke"], found["finished"]) == (1, None, False, 2)
    assert {name: each["items"] for name, each in found["found"].items()} == {"train": 2, "valid": 2}
    assert len(found["found"]["train"]["digest"]) == 16
    recipe = found["recipe"]
    assert recipe["codec"]["bottleneck"]["levels"] == [5, 5]
    assert recipe["optimizer"] == {"class": "narrows.recipes.settings.AdamW", "lr": 1e-3, "betas": [0.8, 0.99]} | {
        "weight_decay": 0.01
    }
    assert recipe["data"]["train"] == str(vowels)
    assert recipe["losses"]["spectral"]["weight"] == 1.0
    assert recipe["discriminators"][0]["period"] == 2


def test_a_loss_is_described_by_its_class_attributes_and_fixed_buffers() -> None:
    described = describe(Loss(0.5))
    assert described.pop("window").startswith("tensor (5,), mean 0.")
    assert described == {"class": f"{__name__}.Loss", "scale": 0.5, "_power": 2} | {
        "weight": "parameter (2, 3)",
        "state": "buffer (3,)",
    }
    assert describe(nn.L1Loss(reduction="sum"))["reduction"] == "sum"
    json.dumps(described)


@pytest.mark.parametrize(
    ("one", "other", "name"),
    [
        (Loss(1.0), Loss(2.0), "scale"),
        (Loss(1.0), Loss(1.0, seed=1), "window"),
        (nn.L1Loss(), nn.MSELoss(), ""),
        (nn.L1Loss(), nn.L1Loss(reduction="sum"), "reduction"),
        (nn.Conv1d(1, 2, 3), nn.Conv1d(1, 2, 3, dilation=2), ""),
        (MultiResolutionSTFTLoss(16_000, [(512, 40)]), MultiResolutionSTFTLoss(8_000, [(512, 40)]), "mel_filters"),
        (torch.float16, torch.float32, ""),
        ((1.0, nn.L1Loss()), (2.0, nn.L1Loss()), "weight"),
        ([1, 2], [1, 2, 3], ""),
        (torch.nn.functional.gelu, torch.nn.functional.relu, ""),
    ],
)
def test_every_difference_has_a_name(one: object, other: object, name: str) -> None:
    ((found, old, new),) = differences(describe(one), describe(other))
    assert found.endswith(name)
    assert old != new
    assert list(differences(describe(one), describe(one))) == []


def test_frozen_networks_are_compared_by_their_weights() -> None:
    def frozen(seed: int) -> Any:
        torch.manual_seed(seed)
        backbone = Backbone.__new__(Backbone)
        nn.Module.__init__(backbone)
        backbone.network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).requires_grad_(False)
        return describe(backbone)

    assert frozen(0) == frozen(0)
    assert [name for name, _, _ in differences(frozen(0), frozen(1))] == ["weights"]


def test_a_handful_of_differences_is_named() -> None:
    assert as_text([("a", 1, None), ("b.c", [1] * 9, {"class": "x.L1Loss"})]) == "a 1 -> none, b.c 9 items -> L1Loss"
    assert as_text([(str(number), 0, 1) for number in range(8)]).endswith("4 0 -> 1 and 3 more")


@dataclass(frozen=True)
class Change:
    """A change of a recipe, and how the refusal names it."""

    settings: dict[str, Any]
    named: str


@pytest.mark.parametrize(
    "change",
    [
        Change({"optimizer": AdamW(lr=3e-4)}, "optimizer.lr 0.001 -> 0.0003;"),
        Change({"schedule": replace(SCHEDULE, steps=9)}, "schedule.steps 2 -> 9;"),
        Change(
            {"losses": {"spectral": (2.0, MultiResolutionSTFTLoss(16_000, [(512, 40)]))}}, "losses.spectral.weight 1"
        ),
        Change(
            {"losses": {"spectral": (1.0, nn.L1Loss())}}, "losses.spectral.module MultiResolutionSTFTLoss -> L1Loss;"
        ),
        Change({"adversarial": Adversarial(start=2, weight=0.1)}, "adversarial.weight 0.5 -> 0.1;"),
        Change({"discriminators": ()}, r"discriminators \[.* -> \[\];"),
        Change({"seed": 3}, "seed 0 -> 3;"),
        Change({"name": "other"}, "name tiny -> other;"),
    ],
    ids=lambda change: change.named.split(" ")[0],
)
def test_other_settings_are_refused_by_name(change: Change, finished: Path, tiny: Recipes) -> None:
    before = (finished / "recipe.json").read_bytes()
    settings = {"schedule": SCHEDULE} | change.settings
    with pytest.raises(InputError, match=f"was started with, got {change.named}") as refusal:
        run(tiny(**settings), finished)
    assert str(refusal.value).endswith("; use another --out, or --change to go on with the new ones")
    assert (finished / "recipe.json").read_bytes() == before


def test_a_change_is_recorded_with_its_step(finished: Path, tiny: Recipes) -> None:
    longer = replace(SCHEDULE, steps=4)
    run(tiny(schedule=longer, optimizer=AdamW(lr=3e-4)), finished, change=True)
    changed = {"optimizer.lr": [1e-3, 3e-4], "schedule.steps": [2, 4]}
    assert record(finished)["changes"] == [{"step": 2, "changed": changed}]
    assert record(finished)["finished"] == 4
    run(tiny(schedule=replace(longer, steps=5), optimizer=AdamW(lr=3e-4)), finished, change=True)
    assert [change["step"] for change in record(finished)["changes"]] == [2, 4]


def test_other_data_are_refused(finished: Path, tiny: Recipes, vowels: Path, tmp_path: Path) -> None:
    """Another folder, and another number of files in the same one."""
    recipe = tiny(schedule=replace(SCHEDULE, steps=3))
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("vowel-0.wav", "vowel-1.wav", "vowel-2.wav"):
        (folder / name).write_bytes((vowels / "vowel-0.wav").read_bytes())
    other = replace(recipe, data=replace(recipe.data, train=folder))
    with pytest.raises(InputError, match=r"data.train .*vowels.* -> .*, found.train.items 2 -> 3, found.train."):
        run(other, finished)
    run(other, finished, change=True)
    (folder / "vowel-2.wav").unlink()
    with pytest.raises(
        InputError, match=r"got found.train.items 3 -> 2, found.train.digest [0-9a-f]{16} -> [0-9a-f]{16}; use"
    ):
        run(other, finished)


def test_workers_and_loggers_do_not_count(finished: Path, tiny: Recipes, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tiny(schedule=SCHEDULE)
    run(replace(recipe, data=replace(recipe.data, workers=1)), finished, logger="tensorboard")
    assert "finished at step 2; give more --schedule.steps with --change" in capsys.readouterr().out


def test_a_run_without_a_record_is_refused(finished: Path, tiny: Recipes) -> None:
    (finished / "recipe.json").unlink()
    recipe = tiny(schedule=replace(SCHEDULE, steps=4))
    with pytest.raises(InputError, match=r"expected recipe.json in .*, got a run without it.*or --change to go on"):
        run(recipe, finished)
    run(recipe, finished, change=True)
    assert record(finished)["changes"] == [{"step": 2, "changed": {"recipe.json": [None, "written"]}}]
    (finished / "recipe.json").write_text("[]")
    with pytest.raises(InputError, match=r"expected the record of a run in .*, got another file"):
        run(recipe, finished)


def test_a_run_started_with_weights_resumes_with_the_same_command(
    finished: Path, tiny: Recipes, tmp_path: Path
) -> None:
    init, out = str(finished / "checkpoint"), tmp_path / "second"
    run(tiny(schedule=SCHEDULE), out, init)
    run(tiny(schedule=SCHEDULE), out, init)
    assert record(out)["init"] == init
    with pytest.raises(InputError, match=r"expected init '.*', which the run in .* was started with, got None"):
        run(tiny(schedule=SCHEDULE), out)


def test_a_part_that_is_not_registered_is_refused_before_the_training(tiny: Recipes, tmp_path: Path) -> None:
    class Own(FSQ):
        pass

    codec = Codec(FrameEncoder(16, 16, 1), Own(16, (5, 5), 4), FrameDecoder(16, 16, 1, iterations=1))
    with pytest.raises(PartError, match=r"not be saved: expected a registered part, got .*Own; decorate its class"):
        run(tiny(codec=codec), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_finished_run_whose_checkpoint_is_incomplete_writes_it(finished: Path, tiny: Recipes) -> None:
    weights = (finished / "checkpoint" / "model.safetensors").read_bytes()
    (finished / "checkpoint" / "model.safetensors").unlink()
    (finished / "recipe.json").write_text(json.dumps(record(finished) | {"finished": None}))
    run(tiny(schedule=SCHEDULE), finished)
    assert (finished / "checkpoint" / "model.safetensors").read_bytes() == weights
