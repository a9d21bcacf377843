import re
from pathlib import Path

import numpy as np
import pytest

import narrows

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_python_lines_run(block: str) -> None:
    wave, pixels = 0.1 * np.sin(np.arange(8000) / 10).astype(np.float32), np.full((3, 40, 56), 128, np.uint8)
    names = {"wave": wave, "sample_rate": 16_000, "pixels": pixels}
    exec(compile(block, "README.md", "exec"), names)


def test_every_shipped_model_is_in_the_table() -> None:
    for entry in narrows.models():
        assert f"| `{entry.name}` |" in README.read_text()


def test_the_layout_names_what_is_there() -> None:
    drawn = re.search(r"## Layout\n\n(.*?)\n\n", README.read_text(), re.DOTALL)
    assert drawn is not None
    folders = {line.split("/")[0].strip() for line in drawn[1].splitlines()[1:] if line.startswith("      ")}
    package = README.parent / "narrows"
    there = {path.name for path in package.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert folders == there
