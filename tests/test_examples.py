import runpy
import sys
from pathlib import Path

import numpy as np
import soundfile

import narrows
from narrows.datasets.base import TokenizedItem
from narrows.datasets.shards import write_shard
from narrows.datasets.worker import dataset_info

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_a_gpt_learns_from_shards_and_generates_audio(tiny_checkpoint, tmp_path, monkeypatch, capsys) -> None:
    model = tiny_checkpoint()
    tokenizer = narrows.load(model)
    items = []
    for number in range(12):
        x = 0.1 * np.sin(np.arange(4000 + 300 * number) / 10).astype("f4")
        tokens = tokenizer.encode(x, 16_000)
        items.append(TokenizedItem(str(number), tokens.codes.numpy(), tokens.extent))
    (tmp_path / "tokens").mkdir()
    write_shard(tmp_path / "tokens" / "00000-of-00001.parquet", items, dataset_info(tokenizer, {}))
    wav = tmp_path / "sampled.wav"
    options = {"--model": model, "--out": wav, "--steps": 30, "--length": 32, "--batch": 4, "--frames": 5}
    words = [str(word) for pair in options.items() for word in pair]
    monkeypatch.setattr(sys, "argv", ["train_gpt.py", str(tmp_path / "tokens"), *words])
    runpy.run_path(str(EXAMPLES / "train_gpt.py"), run_name="__main__")
    losses = [float(line.split()[3]) for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert len(losses) == 10
    assert losses[-1] < 0.7 * losses[0]
    assert soundfile.info(wav).frames == 5 * 320
