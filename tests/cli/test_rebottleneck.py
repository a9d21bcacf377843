import json
import re
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="needs the extra train")

import narrows
from narrows.recipes.data.synthetic import write_synthetic_audio


def test_the_command_trains_a_model_that_codes_files(codec, tiny_checkpoint, tmp_path: Path) -> None:
    base = tiny_checkpoint()
    write_synthetic_audio(tmp_path / "data", 16_000, 1.0)
    arguments = ["--structure", "ordered", "--data", tmp_path / "data", "-o", tmp_path / "out"]
    settings = ["--network.width", 8, "--network.depth", 1, "--data.crops", 8, "--data.valid_crops", 4]
    settings += ["--data.seconds", 0.5, "--data.batch_size", 2, "--schedule.steps", 3]
    done = codec("rebottleneck", base, *arguments, *settings)
    assert done.out.splitlines()[-1] == f"trained: {tmp_path / 'out' / 'checkpoint'}"
    record = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert record["recipe"]["data"]["crops"] == 8
    wav = tmp_path / "data" / "vowel-0.wav"
    codec("encode", wav, "-m", tmp_path / "out" / "checkpoint", "-o", tmp_path / "a.nrw", "--codebooks", 2)
    codec("decode", tmp_path / "a.nrw", "-m", tmp_path / "out" / "checkpoint", "-o", tmp_path / "a.wav")
    assert narrows.load(tmp_path / "out" / "checkpoint").base is not None
    again = codec("rebottleneck", base, *arguments, *settings)
    assert "finished at step 3" in again.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["speech", "--structure", "sorted", "--data", "d", "-o", "o"], "expected structures of ordered, aligned, .*"),
        (["speach", "--structure", "ordered", "--data", "d", "-o", "o"], ".*did you mean 'speech'.*"),
        (["speech", "--structure", "ordered", "--data", "no-such", "-o", "o"], ".*no-such.*"),
        (["speech", "--structure", "ordered", "--data", "d", "-o", "o", "--network.widht", "3"], ".*widht.*"),
    ],
)
def test_mistakes_are_one_line(codec, arguments: list[str], message: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = codec("rebottleneck", *arguments)
    assert done.code == 2
    lines = done.err.strip().splitlines()
    assert len(lines) == 1
    assert re.fullmatch(f"codec: {message}", lines[0]), lines[0]
    assert not (tmp_path / "o").exists()


def test_smoke(codec, tiny_checkpoint, tmp_path: Path) -> None:
    done = codec(
        *("rebottleneck", tiny_checkpoint(), "--structure", "ordered,equivariant", "--data", tmp_path, "--smoke"),
        *("-o", tmp_path / "out" / "run", "--network.width", 8),
    )
    assert "trained:" in done.out
