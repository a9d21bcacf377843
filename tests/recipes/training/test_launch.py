"""Devices, nodes and precision: what is refused, and two nodes on one machine."""

import copy
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from narrows.codecs import (
    LFQ,
    VQ,
    Codec,
    EMACodebook,
    FrameDecoder,
    FrameEncoder,
    LappedDecoder,
    LappedEncoder,
    LDMDecoder,
    LDMEncoder,
    SpaceChannelContext,
)
from narrows.errors import InputError
from narrows.recipes.discriminators.multi_period import MultiPeriodDiscriminator
from narrows.recipes.discriminators.multi_resolution_stft import MultiResolutionSTFTDiscriminator
from narrows.recipes.discriminators.patchgan import PatchGANDiscriminator
from narrows.recipes.image import image
from narrows.recipes.image_tokenizer import image_tokenizer
from narrows.recipes.settings import Prediction
from narrows.recipes.speech import speech
from narrows.recipes.training.audio import AudioRecipe
from narrows.recipes.training.base import Recipe
from narrows.recipes.training.launch import Launch
from narrows.recipes.training.run import run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without variables of a cluster, and without GPUs."""
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "SLURM_NTASKS", "SLURM_JOB_NAME", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"devices": 0}, "expected at least 1 device, got 0"),
        ({"devices": True}, "expected at least 1 device, got True"),
        ({"devices": 2.0}, "expected at least 1 device, got 2.0"),
        ({"nodes": 0}, "expected at least 1 node, got 0"),
        ({"nodes": -2}, "expected at least 1 node, got -2"),
        ({"precision": "fp16"}, "expected a precision of auto, fp32, bf16, got 'fp16'"),
        ({"nodes": 2}, "expected MASTER_ADDR, MASTER_PORT, NODE_RANK in the environment of each node, got no MASTER_A"),
    ],
)
def test_settings_that_cannot_be_launched_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Launch(**settings)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"NODE_RANK": "2"}, "expected NODE_RANK from 0 to 1, got '2'; correct it"),
        ({"NODE_RANK": "x"}, "expected NODE_RANK from 0 to 1, got 'x'; correct it"),
        (
            {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4"},
            "expected 6 processes for --devices 3 --nodes 2, got 4 of torchrun; give it --nnodes 2 --nproc-per-node 3",
        ),
        (
            {"SLURM_NTASKS": "6", "SLURM_NTASKS_PER_NODE": "2"},
            "expected 6 processes for .*, got 6 of srun, 2 on each node; give it --nodes 2 --ntasks-per-node 3",
        ),
        ({"SLURM_NTASKS": "2"}, "got 2 of srun, no number on each node; give it --nodes 2 --ntasks-per-node 3"),
    ],
)
def test_processes_that_do_not_fit_are_refused(
    environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", **environment}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        Launch(devices=3, nodes=2)


def test_processes_that_fit_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "6")
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "3")
    assert Launch(devices=3, nodes=2).count == 6
    assert Launch().count == 1  # a program in the script of the job
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")  # a shell, in which nothing was started by srun
    assert Launch(devices=1).first
    with pytest.raises(InputError, match="got no MASTER_ADDR"):
        Launch(nodes=2)


def test_automatic_precision_is_that_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Launch().lightning_precision == "32-true"
    assert Launch(precision="bf16").lightning_precision == "bf16-mixed"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for has, expected in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has=has, **_: has)
        assert Launch().lightning_precision == expected
        assert Launch(precision="fp32").lightning_precision == "32-true"
    with pytest.raises(InputError, match="expected a GPU that computes in bfloat16, got one that does not"):
        Launch(precision="bf16")
    with pytest.raises(InputError, match="expected 1 to 1 devices, got 2"):
        Launch(devices=2)


def test_accumulated_batches_are_checked(tiny: Callable[..., AudioRecipe], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected at least 1 batch of a step to accumulate, got 0"):
        run(tiny(), tmp_path, accumulate=0)


@pytest.fixture(scope="module")
def made() -> dict[str, Recipe]:
    """Small recipes of every kind."""
    torch.manual_seed(0)
    lapped = Codec(LappedEncoder(8, 6, 2, 1), SpaceChannelContext((3, 5), 1, (8, 8)), LappedDecoder(8, 6, 2, 2, 1))
    convolutions = LDMEncoder(8, 8, (1, 2, 2), 1, 1, 4), LDMDecoder(8, 8, (1, 2, 2), 1, 1, 4)
    frames = Codec(FrameEncoder(16, 16, 1), VQ(16, EMACodebook(4, 16)), FrameDecoder(16, 16, 1, iterations=1))
    discriminators = [*MultiPeriodDiscriminator((2,), 2), *MultiResolutionSTFTDiscriminator((256,), 2)]
    tokenizer = replace(image_tokenizer(), codec=Codec(convolutions[0], LFQ(8, 6), convolutions[1]))
    return {
        "speech": replace(
            speech(prediction=Prediction(steps=0)),
            codec=frames,
            discriminators=discriminators,
            pca_initialization=False,
        ),
        "image": replace(image(), codec=lapped),
        "image-tokenizer": replace(tokenizer, discriminators=[PatchGANDiscriminator(4)]),
    }


@pytest.mark.parametrize("name", ["speech", "image", "image-tokenizer"])
def test_every_recipe_trains_in_bfloat16_on_a_cpu(
    name: str, made: dict[str, Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(made[name].on_synthetic_data(tmp_path / "data").smoke().training())
    seen: dict[str, bool] = {}
    for step in ("training_step", "validation_step"):
        original = getattr(kind, step)

        def observed(self: Any, x: Any, index: int, step: str = step, original: Any = original) -> None:
            seen[step] = torch.is_autocast_enabled("cpu")
            original(self, x, index)

        monkeypatch.setattr(kind, step, observed)
    losses = {}
    for precision in ("bf16", "fp32"):
        recipe = copy.deepcopy(made[name])
        run(recipe, tmp_path / precision, smoke=True, precision=precision)
        assert seen == {"training_step": precision == "bf16", "validation_step": False}
        line = json.loads((tmp_path / precision / "metrics.jsonl").read_text().splitlines()[0])
        losses[precision] = line["loss"]
        dtypes = {value.dtype for value in torch.load(tmp_path / precision / "last.ckpt")["state_dict"].values()}
        assert torch.bfloat16 not in dtypes
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)


def nodes(out: Path, data: Path, *changes: tuple[str, ...]) -> list[subprocess.CompletedProcess[str]]:
    """Start `codec train` for two nodes on this machine, each with its own further options."""
    script = out.parent / "codec"
    script.write_text("from narrows.cli import main\n\nmain()\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    settings = ["--data.train", data, "--data.valid", data, "--data.batch_size", "1", "--data.seconds", "0.1"]
    settings += [
        "--schedule.steps",
        "2",
        "--prediction.steps",
        "0",
        "--nodes",
        "2",
        "-o",
        out,
        "--data.speeds",
        "[1.0]",
    ]
    command = [sys.executable, script, "train", "speech", *settings]
    started = [
        subprocess.Popen(
            list(map(str, (*command, *further))),
            env=os.environ | shared | {"NODE_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, further in enumerate(changes)
    ]
    try:
        ended = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    return [
        subprocess.CompletedProcess(command, process.returncode, *texts)
        for process, texts in zip(started, ended, strict=True)
    ]


@pytest.mark.slow
def test_two_nodes_are_one_run(vowels: Path, tmp_path: Path) -> None:
    first, second = nodes(tmp_path / "run", vowels, (), ())
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout.count("trained:") == 1
    assert second.stdout == ""
    assert (tmp_path / "run" / "checkpoint" / "tables.safetensors").exists()


@pytest.mark.slow
def test_nodes_with_other_settings_are_refused(vowels: Path, tmp_path: Path) -> None:
    first, second = nodes(tmp_path / "run", vowels, (), ("--optimizer.lr", "0.1"))
    assert (first.returncode, second.returncode) == (2, 2), first.stderr + second.stderr
    message = "expected one command on all nodes, got other settings on rank 1: recipe.optimizer.lr 0.001 -> 0.1; give"
    assert message in first.stderr
    assert "Traceback" not in first.stderr + second.stderr
