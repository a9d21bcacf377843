"""GPU tests run on machines that lack what they do not need."""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
LACKING = (
    "av",
    "auraloss",
    "compressai",
    "datasets",
    "diffusers",
    "lpips",
    "matplotlib",
    "pesq",
    "playwright",
    "pystoi",
    "ray",
    "scipy",
    "torchmetrics",
    "visqol",
)
CODE = f"""
import sys
sys.modules.update(dict.fromkeys({LACKING!r}))  # importing one of them fails
import pytest
sys.exit(pytest.main(["-m", "gpu", "-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def test_gpu_tests_import_nothing_that_a_bare_machine_lacks() -> None:
    """They are collected and skipped, or run where there is a GPU."""
    files = [path for path in sorted(TESTS.rglob("test_*.py")) if "mark.gpu\n" in path.read_text(encoding="utf-8")]
    assert len(files) >= 4
    command = [sys.executable, "-c", CODE, *map(str, files)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=TESTS.parent)
    assert ran.returncode == 0, ran.stdout + ran.stderr
