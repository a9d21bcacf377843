import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from narrows.datasets.shards import write_shard

DOCS = Path(__file__).parents[2] / "docs" / "datasets.md"


def test_python_code_runs(tmp_path, samples, monkeypatch) -> None:
    made = replace(samples.AUDIO, radices=((8,),) * 7, depth=7)
    row = samples.audio("speaker1/take3", 640)
    (tmp_path / "OUT").mkdir()
    codes = np.arange(14).reshape(1, 2, 7).swapaxes(1, 2) % 8
    write_shard(tmp_path / "OUT" / "00000-of-00001.parquet", [replace(row, values=codes)], made)
    monkeypatch.chdir(tmp_path)
    files, reading = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    names = {}
    exec(compile(files, "datasets.md", "exec"), names)
    assert np.array_equal(names["codes"], codes[0].T)
    exec(compile(reading, "datasets.md", "exec"), names)
    assert next(iter(names["stream"])).shape == (7, 8)
