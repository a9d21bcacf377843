"""`--import`: commands with parts and metrics of the user, also in worker processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import narrows

PARTS = '''
import numpy as np

import narrows
from narrows.codecs import Bottleneck, Quantized
from narrows.evaluation.base import Metric
from narrows.evaluation.metrics import register


@narrows.part("own-sign")
class Sign(Bottleneck):
    """The signs of all channels."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.dim, self.codebook_sizes, self.prefixes = dim, (2,) * dim, (dim,)

    def forward(self, z):
        return Quantized(self.decode(self.encode(z)))

    def encode(self, z):
        return (z > 0).long()

    def decode(self, codes):
        return codes.float() * 2 - 1


def difference(x, y):
    return float(np.abs(x.array - y.array).mean())


register(Metric("own-error", "audio", "", "lower", "Mean absolute difference.", difference))
'''
SAVE = """
import own_parts, narrows
from narrows.codecs import FrameDecoder, FrameEncoder
codec = narrows.Codec(FrameEncoder(8, 16, 1), own_parts.Sign(8), FrameDecoder(8, 16, 1))
narrows.save("model", narrows.AudioTokenizer(codec, 16_000))
"""
SPEECH = Path(narrows.__file__).parents[1] / "examples" / "speech.wav"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("own")
    (path / "own_parts.py").write_text(PARTS)
    run(path, "-c", SAVE)
    return path


def run(folder: Path, *words: str, code: int = 0) -> str:
    """What a Python process in the folder prints."""
    env = {**os.environ, "PYTHONPATH": str(Path(narrows.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def codec(folder: Path, *words: str, code: int = 0) -> str:
    return run(folder, "-c", "from narrows.cli import main; main()", *words, code=code)


def test_a_model_with_an_own_part(folder) -> None:
    told = codec(folder, "encode", str(SPEECH), "-m", "model", "-o", "a.nrw", code=2)
    assert "'own-sign'" in told
    assert "--import MODULE" in told
    codec(folder, "encode", str(SPEECH), "-m", "model", "-o", "a.nrw", "--import", "own_parts.py")
    assert "own-sign" in codec(folder, "parts", "bottleneck", "--import", "own_parts")
    codec(folder, "decode", "a.nrw", "-m", "model", "--import", "own_parts", "-o", "a.wav")
    assert (folder / "a.wav").exists()


@pytest.mark.slow
def test_worker_processes_import_it_too(folder) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra datasets")
    imports = ("--import", "own_parts.py")
    codec(folder, "tokenize", str(SPEECH), "-m", "model", "-o", "tokens", "--workers", "2", *imports)
    words = ("-m", "model", "--data", str(SPEECH), "-o", "report", "--metrics", "own-error", "--jobs", "2")
    assert "own-error 0." in codec(folder, "evaluate", *words, "--no-speed", "--samples", "0", *imports)


def test_errors_of_own_code_are_one_line(folder) -> None:
    (folder / "broken.py").write_text("x = = 1\n")
    told = codec(folder, "models", "--import", "broken.py", code=2)
    assert told == "codec: cannot import broken.py (line 1: invalid syntax); correct it, or leave it out\n"


def test_every_command_has_the_option(folder) -> None:
    for command in ("encode", "decode", "info", "tokenize", "models", "parts", "detokenize", "export-tokens", "train"):
        assert "--import" in codec(folder, command, "--help"), command
