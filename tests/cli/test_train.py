import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning", reason="needs the extra train")

RECIPE = """
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from narrows.codecs import FSQ, Codec, FrameDecoder, FrameEncoder
from narrows.recipes import AudioData, AudioRecipe, Schedule
from narrows.recipes.losses import MultiResolutionSTFTLoss


@dataclass(frozen=True)
class Own:
    levels: int = 5


class Wrong(nn.Module):
    def forward(self, x, target):
        return (x - target[:, :, :-1]).mean()


class Encoder(FrameEncoder):
    pass


def mine(own: Own = Own(), data: AudioData = AudioData(), schedule: Schedule = Schedule(), name: str = "mine"):
    torch.manual_seed(0)
    codec = Codec(FrameEncoder(8, 16, 1), FSQ(8, (own.levels, 5), 2), FrameDecoder(8, 16, 1, iterations=1))
    losses = {"spectral": (1.0, MultiResolutionSTFTLoss(16_000, [(512, 40)]))}
    return AudioRecipe(name=name, codec=codec, sample_rate=16_000, data=data, losses=losses, schedule=schedule)


def wrong():
    return replace(mine(), losses={"wrong": (1.0, Wrong())})


def unregistered():
    return replace(mine(), codec=Codec(Encoder(8, 16, 1), FSQ(8, (5, 5), 2), FrameDecoder(8, 16, 1)))


def nothing(): ...


def fails():
    return 1 / 0


def parts():
    return Codec(FrameEncoder(8, 16, 1), FSQ(6, (5, 5), 2), FrameDecoder(8, 16, 1))


def untyped(width):
    return mine()


class MakesRecipes:
    def __call__(self, name: str = "a"):
        return mine()


def number_as_loss():
    return replace(mine(), losses={"n": 1.0})


instance = MakesRecipes()
partly = partial(mine, name="other")
constant = 3
"""


@pytest.fixture
def my_recipe(place):
    """The file my_recipe.py in the folder that commands run in."""
    path = place / "my_recipe.py"
    path.write_text(RECIPE)
    known = set(sys.modules)
    yield path
    for name in {"my_recipe", "broken"} & (set(sys.modules) - known):
        del sys.modules[name]


NUMBER = '    return replace(mine(), losses={"n": 1.0})'


def line_of(text):
    return RECIPE.splitlines().index(text) + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--network.bottleneck", "fsk"], "network.bottleneck"),
        (["--contrastive.teacher", "vit_bse_patch16_224"], "did you mean 'vit_base_patch16_224'"),
        (["--data.train", "nowhere"], "there is no file, folder or match of 'nowhere'; check the path"),
        (["--devices", "0"], "expected at least 1 device, got 0"),
        (["--nodes", "2"], "expected MASTER_ADDR, MASTER_PORT, NODE_RANK in the environment of each node, got no MAST"),
        (["--minutes", "0"], "expected minutes above 0, got 0"),
        (["--minutes", "nan"], "expected minutes above 0, got nan"),
        (["--precision", "fp16"], "expected a precision of auto, fp32, bf16, got 'fp16'"),
        (["--accumulate", "0"], "expected at least 1 batch of a step to accumulate, got 0"),
        (["--seed", "-1"], "expected seed from 0 to 4.29497e+09, got -1"),
        (["--logger", "mlflow"], "expected a logger of none, tensorboard, wandb, got 'mlflow'"),
    ],
)
def test_wrong_settings_are_reported_in_one_line(refused, arguments, message):
    assert message in refused("train", "image-tokenizer", *arguments)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nonsense",
            "image, image-tokenizer, feature-autoencoder, video, finetune, rebottleneck, narrowed-classifier, "
            "key-value-classifier, got 'nonsense'; choose one",
        ),
        ("sqeech", "got 'sqeech'; did you mean 'speech'?"),
        ("my.py", "got 'my.py'; give a function of this file as my.py:FUNCTION"),
        ("my.py:mine", "there is no file"),
    ],
)
def test_unknown_recipe_is_reported_with_what_there_is(refused, name, message):
    assert message in refused("train", name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("target", "out"), [("my_recipe.py:mine", None), ("my_recipe:mine", "there")])
def test_own_recipe_is_trained(codec, my_recipe, place, monkeypatch, target, out):
    monkeypatch.syspath_prepend(str(place))
    result = codec("train", target, "--smoke", "--own.levels", "7", *(["-o", out] if out else []))
    assert result.code == 0, result
    folder = place / (out or "runs/mine-smoke")
    written = ["best", "checkpoint", "last.ckpt", "metrics.jsonl", "recipe.json", "report.html", "run.lock", "samples"]
    assert sorted(path.name for path in folder.iterdir()) == [*written, "smoke-data"]
    record = json.loads((folder / "recipe.json").read_text())
    assert record["target"] == target
    assert record["recipe"]["codec"]["bottleneck"]["levels"] == [7, 5]
    assert json.loads((folder / "checkpoint" / "config.json").read_text())["name"] == "mine"


def test_own_recipe_has_help_and_a_config(codec, my_recipe, place):
    assert "--own.levels" in codec("train", "my_recipe.py:mine", "--help").out
    (place / "mine.yaml").write_text("own:\n  levels: 9\n")
    printed = codec("train", "my_recipe.py:mine", "--config", "mine.yaml", "--print_config").out
    assert "levels: 9" in printed


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nine", "expected a function of my_recipe.py, got 'nine'; did you mean 'mine'?"),
        ("nothing", "expected my_recipe.py:nothing to return a Recipe, got None; return e.g. an AudioRecipe"),
        ("parts", "expected parts of one latent dim, got encoder 8, bottleneck 6, decoder 8"),
        ("fails", f"failed in my_recipe.py, line {line_of('    return 1 / 0')}: ZeroDivisionError"),
        ("Own", "my_recipe.py:Own to be a function that returns a Recipe, got the class Own; write a function whose"),
        ("MakesRecipes", "to be a function that returns a Recipe, got the class MakesRecipes; write"),
        ("instance", "to be a function that returns a Recipe, got an object of the class MakesRecipes; write"),
        ("partly", "to be a function that returns a Recipe, got an object of the class partial; write"),
        ("number_as_loss", f"failed in my_recipe.py, line {line_of(NUMBER)}: exp"),
        ("constant", "to be a function that returns a Recipe, got an object of the class int"),
        ("untyped", "expected a type and a default of each parameter of my_recipe.py:untyped"),
        ("unregistered", "could not be saved: expected a registered part, got Encoder; decorate its class with @part"),
    ],
)
def test_faults_of_an_own_recipe_are_reported_in_one_line(codec, my_recipe, function, message, place):
    arguments = ["--smoke"] if function == "unregistered" else []
    result = codec("train", f"my_recipe.py:{function}", *arguments)
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert message in result.err


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_fault_in_the_training_names_the_line_of_the_own_file(codec, my_recipe):
    result = codec("train", "my_recipe.py:wrong", "--smoke")
    assert result.code == 2
    line = line_of("        return (x - target[:, :, :-1]).mean()")
    assert f"codec: my_recipe.py:wrong failed in my_recipe.py, line {line}: RuntimeError: The size of ten" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("text", "message"),
    [("import nothing_of_this_name", "line 2: ModuleNotFoundError"), ("def broken(:", "line 2: invalid syntax")],
)
def test_a_file_that_cannot_be_imported_is_reported_with_its_line(codec, place, my_recipe, text, message):
    (place / "broken.py").write_text(f"x = 1\n{text}\n")
    result = codec("train", "broken.py:mine")
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert message in result.err


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_recipe_of_an_installed_package_has_its_name(codec, place, monkeypatch, my_recipe):
    from narrows import plugins

    package = place / "their_package-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[narrows.recipes]\ntheirs = my_recipe:mine\n")
    monkeypatch.syspath_prepend(str(place))
    plugins._entry_points.cache_clear()
    try:
        assert "key-value-classifier, theirs" in codec("train", "nonsense").err
        assert codec("train", "theirs", "--smoke").code == 0
        assert (place / "runs" / "theirs-smoke" / "checkpoint").exists()
    finally:
        plugins._entry_points.cache_clear()


def train_on_two_devices(place):
    (place / "codec").write_text("from narrows.cli import main\n\nmain()\n")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "codec", "train", "my_recipe.py:mine", "--smoke", "--devices", "2", "-o", "run"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.mark.slow
def test_own_recipe_trains_on_two_devices(place, my_recipe):
    done = train_on_two_devices(place)
    assert done.returncode == 0, done.stderr
    assert json.loads((place / "run" / "recipe.json").read_text())["devices"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ("import nothing_of_this_name", 2, "cannot import my_recipe.py (my_recipe.py, line 2: ModuleNotFoundError"),
        ("os.kill(os.getpid(), 9)", 137, "the process of device 1 failed with exit code -9"),
    ],
)
def test_a_process_of_another_device_that_fails_ends_the_run(place, my_recipe, fault, code, message):
    my_recipe.write_text(f'import os\nif "LOCAL_RANK" in os.environ: {fault}\n{RECIPE}')
    done = train_on_two_devices(place)
    assert done.returncode == code, done
    lines = [line for line in done.stderr.splitlines() if line.startswith("codec: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in done.stderr


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_recipe_of_the_documentation_is_trained(codec, place):
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    section = page[page.index("## An own recipe") :]
    code = re.search(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)[1]
    assert code.count("\n") < 50
    (place / "my_recipe.py").write_text(code, encoding="utf-8")
    try:
        result = codec("train", "my_recipe.py:mine", "--smoke", "--width", "16", "--adversarial.width", "4")
    finally:
        sys.modules.pop("my_recipe", None)
    assert result.code == 0, result
    assert (place / "runs" / "mine-smoke" / "checkpoint" / "tables.safetensors").exists()
    state = torch.load(place / "runs" / "mine-smoke" / "last.ckpt", weights_only=True)["state_dict"]
    assert next(value for name, value in state.items() if name.startswith("discriminators.")).numel() == 4
