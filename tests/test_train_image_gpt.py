import importlib.util
import math
import re
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

import narrows
from narrows.checkpoints import folder
from narrows.codecs import Codec, LappedDecoder, LappedEncoder
from narrows.codecs.bottlenecks.fsq import FSQ
from narrows.datasets import Task
from narrows.datasets.base import TokenizedItem
from narrows.datasets.engines.ranks import Rank
from narrows.datasets.shards import write_shard
from narrows.datasets.tokenize import tokenize
from narrows.datasets.worker import dataset_info
from narrows.errors import WrongModel

SCRIPT = Path(__file__).parents[1] / "examples" / "train_image_gpt.py"
SMALL = ("--width", "32", "--depth", "2", "--batch", "8", "--samples", "5")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("train_image_gpt", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """Folder of an image tokenizer with small random weights and two codebooks of 16."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        codec = Codec(LappedEncoder(8, 6, 2, 0), FSQ(8, (4, 4), groups=2), LappedDecoder(8, 6, 2, 2, 0)).eval()
    tokenizer = narrows.ImageTokenizer(codec)
    tokenizer.name = "tiny"
    path = tmp_path_factory.mktemp("models") / "tiny"
    folder.save(path, tokenizer, torch.float16)
    return str(path)


@pytest.fixture(scope="module")
def shards(model, tmp_path_factory) -> str:
    """Tokens of 24 pictures, each with a wave of one of three periods, which codec tokenize resizes to 48 × 48."""
    place = tmp_path_factory.mktemp("pictures")
    (place / "pictures").mkdir()
    for number in range(24):
        wave = 127 + 120 * np.sin(np.arange(70) / (3 + number % 3))
        Image.fromarray(np.uint8(wave + np.zeros((50, 1)))).save(place / "pictures" / f"{number}.png")
    tokenize(Task(place / "pictures", model, place / "tokens", size=48), Rank(0, 1))
    return str(place / "tokens")


@pytest.fixture(scope="module")
def gpt(example):
    """A model of random weights whose logits differ, for images of 2 × 3 positions and codebooks of other sizes."""
    torch.manual_seed(0)
    made = example.GPT(narrows.Vocabulary((5, 9)), (2, 3), Namespace(width=64, depth=2, dropout=0.1))
    torch.nn.init.normal_(made.out.weight, std=0.5)
    return made.eval()


def items(tokenizer: narrows.ImageTokenizer, *sizes: tuple[int, int]) -> list[TokenizedItem]:
    """Images of sizes, as a shard holds them."""
    encoded = [tokenizer.encode(np.zeros((3, *size), np.uint8)) for size in sizes]
    return [TokenizedItem(str(n), tokens.codes.numpy(), tokens.extent) for n, tokens in enumerate(encoded)]


def test_a_gpt_learns_from_shards_and_generates_a_picture(example, shards, model, tmp_path, capsys) -> None:
    out = tmp_path / "samples.png"
    example.main([shards, "--model", model, "--out", str(out), *SMALL, "--steps", "60", "--rate", "0.01"])
    printed = capsys.readouterr().out
    valid = [float(x) for x in re.findall(r"step \d+  loss [\d.]+, valid ([\d.]+) bits per token", printed)]
    assert len(valid) == 2  # steps 50 and 60
    assert valid[-1] < 0.5 * math.log2(16)
    assert "5 samples" in printed
    with Image.open(out) as picture:
        assert picture.size == (3 * 48, 2 * 48)
    assert list(tmp_path.iterdir()) == [out]


def test_ids_see_only_those_before_them_and_a_cache_changes_no_logits(gpt) -> None:
    ids = torch.tensor([[1, 3, 8, 4, 9, 5, 10, 6, 11, 7, 12, 3], [1, 3, 8, 4, 9, 3, 16, 3, 16, 3, 16, 4]])
    whole, cache = gpt(ids), [[], []]
    assert torch.equal(whole[0, :5], whole[1, :5])
    assert not torch.equal(whole[0, 5:], whole[1, 5:])
    steps = [gpt(ids[:, n : n + 1], n, cache) for n in range(12)]
    assert torch.allclose(torch.cat(steps, 1), whole, atol=1e-5)


def test_logits_depend_on_row_column_and_codebook(gpt) -> None:
    assert gpt.positions.T.tolist()[:4] == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]]
    assert gpt.positions.T.tolist()[-1] == [1, 2, 1]
    for table in gpt.places:
        before = gpt(torch.ones(1, 12, dtype=torch.long))
        with torch.no_grad():
            table.weight += 1
        assert not torch.allclose(gpt(torch.ones(1, 12, dtype=torch.long)), before)
        with torch.no_grad():
            table.weight -= 1


def test_samples_are_ids_of_their_codebooks(example, gpt) -> None:
    ids = example.generate(gpt, 6, 1.0, 99, seed=3)
    assert ids.shape == (6, 12)
    assert ((ids[:, ::2] >= 3) & (ids[:, ::2] < 8)).all()
    assert ((ids[:, 1::2] >= 8) & (ids[:, 1::2] < 17)).all()
    assert torch.equal(ids, example.generate(gpt, 6, 1.0, 99, seed=3))
    assert not torch.equal(ids, example.generate(gpt, 6, 1.0, 99, seed=4))
    greedy = [example.generate(gpt, 2, temperature, k, 1) for temperature, k in ((0, 99), (1, 1))]
    assert torch.equal(*greedy)


def test_bits_of_a_model_that_knows_nothing_are_those_of_the_codebooks(example) -> None:
    gpt = example.GPT(narrows.Vocabulary((4, 16)), (2, 2), Namespace(width=100, depth=1, dropout=0.5))
    torch.nn.init.zeros_(gpt.out.weight)
    bits = example.loss_bits(gpt, torch.tensor([[3, 7] * 4]))
    assert bits.item() == pytest.approx((2 + 4) / 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "samples.jpg"), r"expected a \.png file in a folder that exists, got 'samples\.jpg'; change --out"),
        (("--out", "nowhere/samples.png"), r"got 'nowhere/samples\.png'; change --out"),
        (("--batch", "0"), "expected 2 images or more, got 24, and options of at least 1"),
    ],
)
def test_options_out_of_range_are_refused(example, shards, model, options, message) -> None:
    with pytest.raises(SystemExit, match=message):
        example.main([shards, "--model", model, *options])


def test_other_data_and_models_are_refused(example, shards, model, tiny_checkpoint, tmp_path) -> None:
    tokenizer, out = narrows.load(model), ("--out", str(tmp_path / "samples.png"))
    speech = narrows.load(tiny_checkpoint())
    tokens = speech.encode(np.zeros(3000, np.float32), 16_000)
    for name, made, of in (
        ("audio", [TokenizedItem("a", tokens.codes.numpy(), tokens.extent)], speech),
        ("one", items(tokenizer, (16, 16)), tokenizer),
        ("large", items(tokenizer, (1040, 1040), (1040, 1040)), tokenizer),
        ("sizes", items(tokenizer, (32, 64), (64, 32), (32, 64)), tokenizer),
    ):
        (tmp_path / name).mkdir()
        write_shard(tmp_path / name / "00000-of-00001.parquet", made, dataset_info(of, {}))
    for name, message in (
        ("audio", "expected tokens of images, got tokens of audio"),
        ("one", "expected 2 images or more, got 1"),
        ("large", "expected at most 8192 codes of an image, got 8450; give a smaller --size"),
        (
            "sizes",
            r"expected images of one size, codes \(1, 2, 2, 4\), got \(1, 2, 4, 2\) of '1'; tokenize with --size",
        ),
    ):
        with pytest.raises(SystemExit, match=message):
            example.main([str(tmp_path / name), "--model", model, *out, *SMALL])
    for other in ("image", tiny_checkpoint()):
        with pytest.raises(WrongModel):
            example.main([shards, "--model", str(other), *out])
    assert not (tmp_path / "samples.png").exists()
