import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest
import soundfile
import torch

import narrows
from narrows.checkpoints import folder
from narrows.codecs import (
    FSQ,
    IBQ,
    LFQ,
    VQ,
    AttentionProjection,
    Bottleneck,
    Codec,
    DitheredFSQ,
    EMACodebook,
    FrameDecoder,
    FrameEncoder,
    Gaussian,
    LearnedCodebook,
    MultiCodebook,
    Nested,
    Ordered,
    ResidualVQ,
    Rounding,
    SplitResidualVQ,
)
from narrows.errors import InputError
from narrows.media import audio
from narrows.recipes.discriminators.multi_period import MultiPeriodDiscriminator
from narrows.recipes.discriminators.multi_resolution_stft import MultiResolutionSTFTDiscriminator
from narrows.recipes.losses.frames import FrameMagnitudeLoss
from narrows.recipes.losses.stft import ComplexSTFTLoss, MultiResolutionSTFTLoss
from narrows.recipes.settings import AudioData, Prediction
from narrows.recipes.speech import speech
from narrows.recipes.training.audio import AudioRecipe, AudioTraining
from narrows.recipes.training.run import run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def small(seed: int = 0) -> AudioRecipe:
    torch.manual_seed(seed)
    return replace(
        speech(prediction=Prediction(steps=0)),
        codec=Codec(FrameEncoder(16, 16, 1), FSQ(16, (5, 5), 4, dropout=0.5), FrameDecoder(16, 16, 1, iterations=1)),
        losses={
            "spectral": (1.0, MultiResolutionSTFTLoss(16_000, [(512, 40)])),
            "waveform": (0.5, ComplexSTFTLoss(512)),
        },
        frame_losses={"frames": (1.0, FrameMagnitudeLoss())},
        discriminators=[*MultiPeriodDiscriminator((2, 3), 2), *MultiResolutionSTFTDiscriminator((256,), 2)],
    )


@pytest.fixture(scope="module")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a smoke run: `checkpoint`, and `smoke-data` to train on."""
    return run(small(), tmp_path_factory.mktemp("run"), smoke=True).parent


def recipe_on(data: Path, steps: int, every: int = 3, seed: int = 0) -> AudioRecipe:
    recipe = small(seed).smoke()
    schedule = replace(recipe.schedule, steps=steps, validate_every=every, decay_fraction=0.0)
    return replace(recipe, data=replace(recipe.data, train=data, valid=data), schedule=schedule)


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_smoke_run_writes_a_checkpoint_that_loads(smoke_run: Path) -> None:
    tokenizer = narrows.load(smoke_run / "checkpoint")
    assert tokenizer.tables is not None
    tokens = tokenizer.encode_file(smoke_run / "smoke-data" / "vowel-0.wav")
    assert tokenizer.decode(tokenizer.decompress(tokenizer.compress(tokens))).shape == (1, 32_000)
    assert (smoke_run / "last.ckpt").exists()
    assert [line["step"] for line in lines(smoke_run)] == [3, 6]
    assert {"frames", "spectral", "waveform", "generator", "feature_matching", "valid/spectral"} <= lines(smoke_run)[
        1
    ].keys()


def test_smoke_runs_and_other_runs_refuse_the_folders_of_each_other(smoke_run: Path, tmp_path: Path) -> None:
    run(recipe_on(smoke_run / "smoke-data", 1), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"expected no run or a smoke run in .*, got another run; choose another"):
        run(small(1), tmp_path, smoke=True)
    (tmp_path / "recipe.json").unlink()
    with pytest.raises(InputError, match="expected no run or a smoke run in"):
        run(small(1), tmp_path, smoke=True)
    with pytest.raises(InputError, match=r"expected no smoke run in .*, got one; choose another --out"):
        run(recipe_on(smoke_run / "smoke-data", 9), smoke_run, change=True)
    del before[tmp_path / "recipe.json"]
    assert all(path.read_bytes() == data for path, data in before.items())


def test_smoke_run_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.wav").touch()
    run(small(), tmp_path, smoke=True)
    run(small(1), tmp_path, smoke=True)
    assert [line["step"] for line in lines(tmp_path)] == [3, 6]
    assert json.loads((tmp_path / "recipe.json").read_text())["finished"] == 6
    assert (tmp_path / "data" / "mine.wav").exists()


def test_resumed_run_equals_an_uninterrupted_one(smoke_run: Path, tmp_path: Path) -> None:
    """Bit for bit, with random dropout in each step, after validations at other steps."""
    run(recipe_on(smoke_run / "smoke-data", 6), tmp_path / "whole")
    run(recipe_on(smoke_run / "smoke-data", 4, every=2), tmp_path / "parts")
    run(recipe_on(smoke_run / "smoke-data", 6), tmp_path / "parts", change=True)
    whole, parts = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "parts"))
    for name, value in whole["state_dict"].items():
        assert torch.equal(parts["state_dict"][name], value), name
    assert [line["step"] for line in lines(tmp_path / "parts")] == [2, 4, 6]


def test_run_resumes_with_another_schedule_and_ends_after_its_steps(
    smoke_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(recipe_on(smoke_run / "smoke-data", 3), tmp_path)
    checkpoint = run(recipe_on(smoke_run / "smoke-data", 7, every=2), tmp_path, change=True)
    assert [line["step"] for line in lines(tmp_path)] == [3, 4, 6, 7]
    before = (checkpoint / "model.safetensors").stat()
    capsys.readouterr()
    assert run(recipe_on(smoke_run / "smoke-data", 7, every=2), tmp_path) == checkpoint
    assert capsys.readouterr().out == "finished at step 7; give more --schedule.steps with --change to go on\n"
    with pytest.raises(InputError, match=r"got schedule.steps 7 -> 2, schedule.validate_every 2 -> 3; use another"):
        run(recipe_on(smoke_run / "smoke-data", 2), tmp_path)
    with pytest.raises(InputError, match=r"expected at least the 7 steps that the run in .* has done, got 2; give"):
        run(recipe_on(smoke_run / "smoke-data", 2), tmp_path, change=True)
    assert (checkpoint / "model.safetensors").stat() == before


def test_resumed_run_has_its_own_learning_rate(smoke_run: Path, tmp_path: Path) -> None:
    def weights(steps: int, lr: float) -> dict[str, torch.Tensor]:
        recipe = recipe_on(smoke_run / "smoke-data", steps)
        run(replace(recipe, optimizer=replace(recipe.optimizer, lr=lr)), tmp_path, change=True)
        state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
        return {name: value for name, value in state.items() if name.startswith("codec.")}

    before, after = weights(2, 1e-3), weights(4, 0.0)
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_resumed_run_has_one_line_of_metrics_for_each_validation(smoke_run: Path, tmp_path: Path) -> None:
    """Also if the first run was killed after it wrote metrics of later steps, and while it wrote a line."""
    run(recipe_on(smoke_run / "smoke-data", 2, every=2), tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "frames": 1.0}\n{"step": 4, "fra')
    run(recipe_on(smoke_run / "smoke-data", 4, every=2), tmp_path, change=True)
    assert [line["step"] for line in lines(tmp_path)] == [2, 4]


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("smoke", [False, True])
def test_second_run_in_one_folder_is_rejected(smoke: bool, smoke_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    lock, recipe = tmp_path / "run.lock", recipe_on(smoke_run / "smoke-data", 1)
    with subprocess.Popen([sys.executable, "-c", HOLD, lock], stdin=PIPE, stdout=PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(InputError, match="expected no running training in"):
            run(recipe, tmp_path, smoke=smoke)
        assert [path.name for path in tmp_path.iterdir()] == [lock.name]
    run(recipe, tmp_path, smoke=smoke)


def test_folder_that_cannot_be_written_is_rejected(smoke_run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"expected a folder that can be written, got .*choose another --out"):
            run(recipe_on(smoke_run / "smoke-data", 1), out)


def test_run_that_cannot_resume_is_rejected(smoke_run: Path, tmp_path: Path) -> None:
    run(recipe_on(smoke_run / "smoke-data", 1), tmp_path)
    other = Codec(FrameEncoder(16, 16, 2), FSQ(16, (5, 5), 4), FrameDecoder(16, 16, 1, iterations=1))
    with pytest.raises(InputError, match=r"cannot resume .*shapes of the network .*encoder.blocks.1\S* none -> \(16,"):
        run(replace(recipe_on(smoke_run / "smoke-data", 4), codec=other), tmp_path, change=True)
    frozen = recipe_on(smoke_run / "smoke-data", 4)
    frozen.codec.encoder.requires_grad_(False)
    with pytest.raises(InputError, match=r"cannot resume .*trained parameters .*groups of \d+ .* -> "):
        run(frozen, tmp_path, change=True)
    with pytest.raises(InputError, match=r"expected init None, which the run in .* choose another --out"):
        run(recipe_on(smoke_run / "smoke-data", 4), tmp_path, str(smoke_run / "checkpoint"), change=True)
    whole = (tmp_path / "last.ckpt").read_bytes()
    damaged = (
        r"expected the state of a run in .*last.ckpt, got a file that is damaged .*remove this file to begin again"
    )
    for data in (b"", b"nothing", whole[:100], whole[: len(whole) // 2], whole[:-1]):
        (tmp_path / "last.ckpt").write_bytes(data)
        with pytest.raises(InputError, match=damaged):
            run(recipe_on(smoke_run / "smoke-data", 4), tmp_path, change=True)
    for other_state in ([1], {"state_dict": 1}, {"state_dict": {}, "optimizer_states": 1}):
        torch.save(other_state, tmp_path / "last.ckpt")
        with pytest.raises(InputError, match=damaged):
            run(recipe_on(smoke_run / "smoke-data", 4), tmp_path, change=True)
    assert json.loads((tmp_path / "recipe.json").read_text())["changes"] == []


def test_run_with_nan_losses_ends(smoke_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("narrows.recipes.training.base.MAX_SKIPPED", 4)
    recipe = recipe_on(smoke_run / "smoke-data", 9, every=2)
    recipe = replace(recipe, optimizer=replace(recipe.optimizer, lr=1e30))
    with pytest.raises(InputError, match="losses and gradients, got NaN or infinity in 4 steps up to step"):
        run(recipe, tmp_path)
    assert lines(tmp_path)[0]["valid/spectral"] is None


@pytest.mark.parametrize(
    "bottleneck",
    [
        VQ(16, LearnedCodebook(4, 32)),
        ResidualVQ(16, 2, 32, 4),
        SplitResidualVQ(VQ(16, EMACodebook(4, 32)), ResidualVQ(16, 2, 32, 4)),
        MultiCodebook(16, 2, 16, 4, AttentionProjection(16, 8, 2)),
        IBQ(16, 32, 4),
        LFQ(16, 6),
        Nested(Gaussian(16, 4), FSQ(16, (5, 5))),
        Ordered([Gaussian(16, 1, Rounding()) for _ in range(3)]),
        DitheredFSQ(16, (5, 5), 2),
    ],
    ids=lambda bottleneck: type(bottleneck).__name__,
)
def test_every_bottleneck_trains_and_its_checkpoint_codes(
    bottleneck: Bottleneck, smoke_run: Path, tmp_path: Path
) -> None:
    recipe = recipe_on(smoke_run / "smoke-data", 2, every=2)
    codec = Codec(recipe.codec.encoder, bottleneck, recipe.codec.decoder)
    folder = run(replace(recipe, codec=codec, pca_initialization=False), tmp_path)
    tokenizer = narrows.load(folder)
    tokens = tokenizer.encode_file(smoke_run / "smoke-data" / "vowel-0.wav")
    assert tokenizer.decompress(tokenizer.compress(tokens)) == tokens
    assert tokenizer.decode(tokens).shape == (1, 32_000)


@pytest.mark.parametrize(
    ("bottleneck", "loss"),
    [
        (LFQ(16, 6), "sample_entropy"),
        (VQ(16, LearnedCodebook(4, 32)), "codebook"),
        (SplitResidualVQ(VQ(16, LearnedCodebook(4, 32)), ResidualVQ(16, 2, 32, 4)), "semantic/codebook"),
    ],
    ids=["LFQ", "VQ", "SplitResidualVQ"],
)
def test_bottleneck_loss_without_a_weight_is_rejected_before_training(
    bottleneck: Bottleneck, loss: str, smoke_run: Path
) -> None:
    recipe = recipe_on(smoke_run / "smoke-data", 2)
    codec = Codec(recipe.codec.encoder, bottleneck, recipe.codec.decoder)
    recipe = replace(recipe, codec=codec, bottleneck_loss_weights={"commitment": 1.0})
    expected = (
        f"got none for '{loss}' of the bottleneck; add '{loss.split('/')[-1]}' to the recipe's bottleneck_loss_wei"
    )
    with pytest.raises(InputError, match=expected):
        recipe.training()


def test_building_the_training_changes_neither_random_state_nor_bottleneck(smoke_run: Path) -> None:
    recipe = recipe_on(smoke_run / "smoke-data", 2)
    bottleneck = VQ(16, EMACodebook(4, 32))
    codec = Codec(recipe.codec.encoder, bottleneck, recipe.codec.decoder)
    state, weights = torch.get_rng_state(), {name: value.clone() for name, value in bottleneck.state_dict().items()}
    replace(recipe, codec=codec).training()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, weights[name]) for name, value in bottleneck.state_dict().items())


def test_ctrl_c_writes_no_checkpoint(smoke_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(AudioTraining, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(recipe_on(smoke_run / "smoke-data", 3), tmp_path)
    assert not (tmp_path / "checkpoint").exists()


def test_init_takes_weights_of_the_same_architecture(smoke_run: Path, tmp_path: Path) -> None:
    checkpoint = str(smoke_run / "checkpoint")
    recipe = recipe_on(smoke_run / "smoke-data", 0, seed=1)
    other = Codec(FrameEncoder(16, 16, 2), FSQ(16, (5, 5), 4), FrameDecoder(16, 16, 1, iterations=1))
    with pytest.raises(
        InputError, match=r"of the recipe's architecture, got .* with encoder.blocks.1\S* none -> \(16,"
    ):
        run(replace(recipe, codec=other), tmp_path / "second", init=checkpoint)
    run(recipe, tmp_path / "third", init=checkpoint)
    for name, value in folder.read(checkpoint).codec.state_dict().items():
        assert torch.equal(recipe.codec.state_dict()[name], value)


def test_losses_on_the_signal_start_at_their_step_and_at_once_without_frame_losses(smoke_run: Path) -> None:
    recipe = replace(recipe_on(smoke_run / "smoke-data", 2), signal_loss_start=5)
    assert not recipe.training().uses_discriminators(4)
    assert recipe.training().uses_discriminators(5)
    assert replace(recipe, frame_losses={}).training().uses_discriminators(3)


def test_a_run_with_broken_files_among_good_ones(
    vowels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "data"
    shutil.copytree(vowels, data)
    (data / "broken.flac").write_bytes(b"no audio")
    soundfile.write(data / "nan.wav", np.full(16_000, np.nan, np.float32), 16_000, "FLOAT")
    audio.write(data / "silence.wav", np.zeros((1, 16_000), np.float32), 16_000)
    recipe = small().smoke()
    several = AudioData((data, vowels), data, seconds=0.25, batch_size=4, workers=1)
    run(replace(recipe, data=several), tmp_path / "run")
    assert f"train: 7 audio files in {data}, {vowels}\nvalid: 5 audio files in {data}\n" in capsys.readouterr().out
    summaries = [
        text for record in caplog.records if (text := record.getMessage()).startswith(("skipped 1 ", "skipped 2 "))
    ]
    assert len(summaries) in (2, 3)
    assert summaries[-1].endswith("that cannot be read: broken.flac, nan.wav")
    losses = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert losses
    assert all(value is not None for line in losses for value in line.values())
