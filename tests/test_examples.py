import importlib.util
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

import narrows
from narrows.datasets.base import TokenizedItem
from narrows.datasets.shards import write_shard
from narrows.datasets.worker import dataset_info

SCRIPT = Path(__file__).parents[1] / "examples" / "train_gpt.py"
SMALL = [
    "--width",
    "32",
    "--depth",
    "2",
    "--frames",
    "20",
    "--batch",
    "4",
    "--print-every",
    "10",
    "--sample-frames",
    "9",
]


@pytest.fixture(scope="module")
def train_gpt() -> ModuleType:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("train_gpt", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(tiny_checkpoint) -> str:
    return str(tiny_checkpoint())


@pytest.fixture(scope="module")
def shards(model, tmp_path_factory) -> str:
    """Twelve recordings, shorter and longer than a part, two of them stereo, with text."""
    tokenizer, items = narrows.load(model), []
    for number in range(12):
        x = 0.1 * np.sin(np.arange(3000 + 700 * number) / 10).astype("f4")
        tokens = tokenizer.encode(np.stack([x] * (1 + (number > 9))), 16_000)
        meta = {"text": "größer" if number % 2 else None, "n": number}
        items.append(TokenizedItem(str(number), tokens.codes.numpy(), tokens.extent, meta))
    folder = tmp_path_factory.mktemp("tokens")
    write_shard(folder / "00000-of-00001.parquet", items, dataset_info(tokenizer, {}))
    return str(folder)


@pytest.fixture
def main(train_gpt, shards, model, tmp_path):
    """Runs the example, in this process, in a folder; SIGINT and SIGTERM are handled as before afterwards."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*options: str) -> Path:
        train_gpt.main([shards, "--model", model, "--out", str(tmp_path / "run"), *SMALL, *options])
        return tmp_path / "run"

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_gpt_learns_from_shards_and_generates_audio(main, capsys) -> None:
    run = main("--steps", "60", "--valid-every", "30", "--rate", "0.01")
    out = capsys.readouterr().out
    unigram = [float(x) for x in re.search(r"unigram .* by codebook (.*)", out)[1].split()]
    valid = [float(line.split()[2]) for line in out.splitlines() if line.startswith("valid")]
    assert (len(unigram), len(valid)) == (3, 3)
    assert all(0 <= bits <= math.log2(16) for bits in unigram)
    assert valid[-1] < 0.9 * math.log2(19)
    assert re.search(r"step 20  loss .* bits per id, \d+ frames/s, [\d.]+ min left", out)
    assert 0 < soundfile.info(run / "sample.wav").frames <= 9 * 320


def test_runs_are_continued(main, shards, capsys) -> None:
    run = main("--steps", "10", "--text", "text", "--prompt", "größer")
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    assert (state["step"], state["epoch"]) == (10, 3)
    capsys.readouterr()
    main("--steps", "12", "--text", "text", "--workers", "2")
    out = capsys.readouterr().out
    assert "valid 12" in out
    assert "step 10" not in out
    for options, was, got in (
        (["--width", "64"], "width 32", "width 64"),
        (["--frames", "21"], "frames 20", "frames 21"),
        (["--text", "n"], "text 'text'", "text 'n'"),
        (["--valid", shards], "valid False", "valid True"),
    ):
        with pytest.raises(
            SystemExit, match=f"expected {was}, as in .*checkpoint.pt, got {got}; give the same options"
        ):
            main("--text", "text", *options)
    with pytest.raises(SystemExit, match="expected metadata with words, got n, text; change --text"):
        main("--text", "words")


def test_options_that_do_not_fit_each_other_are_refused(main, capsys) -> None:
    with pytest.raises(SystemExit, match="expected --text with --prompt, got only 'hi'; give --text COLUMN or no"):
        main("--prompt", "hi")
    with pytest.raises(SystemExit, match="2"):
        main("--steps", "3", "--minutes", "1")
    assert "argument --minutes: not allowed with argument --steps" in capsys.readouterr().err


def test_help_shows_defaults(train_gpt, capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        train_gpt.main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "frames of a part of a recording [250]" in shown
    assert "bits per code" in shown


def test_a_signal_stops_and_saves(shards, model, tmp_path) -> None:
    command = [sys.executable, SCRIPT, shards, "--model", model, "--out", tmp_path / "run", *SMALL, "--minutes", "9"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not process.stdout.readline().startswith("step"):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert re.fullmatch(r"stopped at step \d+; the same command continues\n", err)
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] >= 10


@pytest.fixture
def small(train_gpt) -> tuple:
    """A model whose logits differ, and its vocabulary, with codebooks of different sizes."""
    torch.manual_seed(0)
    vocabulary = narrows.Vocabulary((5, 9, 16), shared=True)
    gpt = train_gpt.GPT(3, vocabulary.size, 32, 2)
    torch.nn.init.normal_(gpt.out.weight, std=0.5)
    return gpt.eval(), vocabulary


def test_a_cache_changes_no_logits(train_gpt, small) -> None:
    gpt, _ = small
    ids, cache = torch.randint(0, 19, (2, 4, 13)), []
    whole = gpt(ids)
    parts = [gpt(ids[:, :, :5], cache), *(gpt(ids[:, :, n : n + 1], cache) for n in range(5, 13))]
    assert torch.allclose(torch.cat(parts, 2), whole, atol=1e-5)
    assert cache[1][0].shape == (2, 1, 13, 32)


@pytest.mark.parametrize("text", ["", "so it is"])
def test_generation_with_and_without_a_cache(train_gpt, small, text) -> None:
    gpt, vocabulary = small
    for seed in range(6):
        ids = train_gpt.generate(gpt, vocabulary, text, 12, 1.0, 8, seed)
        assert torch.equal(ids, train_gpt.generate(gpt, vocabulary, text, 12, 1.0, 8, seed, cached=False))
        assert 1 <= ids.shape[1] <= 12
        for row, first, size in zip(ids, vocabulary.offsets, vocabulary.sizes, strict=True):
            assert ((row >= first) & (row < first + size)).all()
    greedy = [train_gpt.generate(gpt, vocabulary, text, 9, temperature, k, 1) for temperature, k in ((0, 50), (1, 1))]
    assert torch.equal(*greedy)


def test_generation_ends_where_the_model_ends(train_gpt, small) -> None:
    gpt, vocabulary = small
    with torch.no_grad():
        gpt.out.weight.view(3, vocabulary.size, -1)[0, vocabulary.end] = 0  # logit 0, the others below
        gpt.out.weight.view(3, vocabulary.size, -1)[0, vocabulary.end + 1 :] *= 1e-6
    found = {train_gpt.generate(gpt, vocabulary, "", 30, 1.0, 99, seed).shape[1] for seed in range(8)}
    assert len(found) > 1
    assert min(found) >= 1
    assert max(found) < 30


def test_columns_are_those_of_the_drawing(train_gpt) -> None:
    vocabulary = narrows.Vocabulary((4, 4, 4), shared=True)
    ids = torch.tensor([[3, 4, 5], [3, 4, 5], [3, 4, 6]])[:, :2]
    made = train_gpt.columns("so", ids, vocabulary, True)
    assert made.tolist() == [
        [116, 112, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 3, 4, 2, 0, 0],
        [0, 0, 1, 0, 3, 4, 2, 0],
        [0, 0, 1, 0, 0, 3, 4, 2],
    ]
    assert torch.equal(train_gpt.columns("", ids, vocabulary, False), made[:, 2:-1] * (made[:, 2:-1] != 2))
    assert train_gpt.columns("ä" * 999, ids, vocabulary, False)[0].count_nonzero() == 512


@pytest.mark.slow
def test_two_processes_train_one_model(two_ranks, shards, model, tmp_path) -> None:
    script = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    two_ranks(script, str(SCRIPT), shards, "--model", model, "--out", str(tmp_path / "run"), *SMALL, "--steps", "7")
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 7
    assert os.path.exists(tmp_path / "run" / "sample.wav")


def test_parts_are_random_in_training_and_fit_short_recordings(train_gpt, shards) -> None:
    data = narrows.datasets.load(shards, with_meta=True)
    vocabulary = narrows.Vocabulary((16, 16, 16), shared=True)
    fixed = list(train_gpt.Crops(data, vocabulary, 20, None))
    assert [x.shape[1] for x in fixed[:3]] == [1 + 10 + 3, 1 + 12 + 3, 1 + 14 + 3]  # whole, with E
    assert fixed[-1].shape[1] == 1 + 20 + 2
    torch.manual_seed(0)
    random = list(train_gpt.Crops(data, vocabulary, 20, None, frozenset({"0"}), random=True))
    assert len(random) == 11
    assert torch.equal(random[0], fixed[1])
    assert not torch.equal(random[-1], fixed[-1])
    spoken = list(train_gpt.Crops(data, vocabulary, 20, "text", random=True))
    assert [int(x[0].count_nonzero()) for x in spoken[:4]] == [0, 8, 0, 8]
    assert torch.equal(spoken[9][1:, 8:], fixed[9][1:])


def test_validation_data_of_another_folder_may_have_the_same_keys(main, shards, capsys) -> None:
    main("--steps", "4", "--valid", shards)
    assert "valid 4" in capsys.readouterr().out
