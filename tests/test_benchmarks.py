"""The scripts in benchmarks/ import what they use, and docs/benchmarks.md names all of them."""

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = {"common", "digits", "small_codecs"}  # modules that the scripts import
SCRIPTS = sorted(path for path in (ROOT / "benchmarks").glob("*.py") if path.stem not in SHARED)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_help(script: Path, monkeypatch, capsys) -> None:
    monkeypatch.syspath_prepend(str(script.parent))
    monkeypatch.setattr(sys, "argv", [script.name, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    assert end.value.code == 0
    assert f"python benchmarks/{script.name}" in capsys.readouterr().out


def test_the_documentation_names_the_scripts() -> None:
    named = re.findall(r"(?<!examples/)\b(\w+)\.py\b", (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8"))
    assert set(named) == {script.stem for script in SCRIPTS}
