import subprocess
import sys
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pytest
import torch

import narrows
from narrows.datasets import Batch, Collate, Example, TokenStream, load

NAMES = {
    "AudioTokenizer",
    "Bottleneck",
    "Codec",
    "Decoder",
    "Encoder",
    "ImageTokenizer",
    "Latents",
    "NarrowsError",
    "Quantized",
    "Tokenizer",
    "Tokens",
    "VideoTokenizer",
    "Vocabulary",
    "build",
    "evaluate",
    "load",
    "models",
    "part",
    "parts",
    "save",
    "spec",
    "tokenize",
}


PACKAGES = {"bitstream", "codecs", "datasets", "evaluation", "media", "recipes", "tokenizers"}


def test_the_public_names_are_these() -> None:
    assert set(narrows.__all__) == NAMES
    assert set(dir(narrows)) == NAMES | PACKAGES | {"__version__"}
    for name in NAMES:
        assert getattr(narrows, name).__doc__


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        narrows.lod  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_needs_no_torch() -> None:
    code = "import sys, narrows, narrows.cli; narrows.models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", sorted(NAMES | PACKAGES))
def test_each_name_is_imported_on_its_own(name: str) -> None:
    """In a process where nothing else of the package was imported: no circular imports."""
    code = f"import narrows; assert narrows.{name}.__doc__"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_types_of_audio() -> None:
    """mypy checks this file (see pyproject.toml): `assert_type` fails there."""
    tokenizer = narrows.load("speech")
    assert_type(tokenizer, narrows.AudioTokenizer)
    assert isinstance(tokenizer, narrows.AudioTokenizer)
    tokens = tokenizer.encode(np.zeros((1, 1600), np.float32), 16_000)
    assert_type(tokens, narrows.Tokens)
    assert_type(tokens.codes, torch.Tensor)
    assert_type(tokenizer.compress(tokens), bytes)
    assert_type(tokenizer.decompress(tokenizer.compress(tokens)), narrows.Tokens)
    assert_type(tokenizer.decode(tokens), torch.Tensor)
    assert_type(tokenizer.codec, narrows.Codec)
    assert_type(narrows.spec(tokenizer.codec), dict[str, Any])


def types_of_data_sets(folder: Path) -> None:
    """Read by mypy only."""
    assert_type(load(folder)[0], narrows.Tokens | narrows.Latents)
    assert_type(load(folder, with_meta=True, order="source")[0], Example[narrows.Tokens | narrows.Latents])
    assert_type(load(folder, ids="delayed")[0:2], list[torch.Tensor])
    data = load(folder, ids="delayed", with_meta=True)
    assert_type(data[0].value, torch.Tensor)
    assert_type(data.vocabulary, narrows.Vocabulary)
    assert_type(Collate(data.vocabulary)(data[0:2]), Batch)
    assert_type(next(iter(TokenStream(data))).key, str)


def test_types_of_images() -> None:
    tokenizer = narrows.load("image")
    assert_type(tokenizer, narrows.ImageTokenizer)
    assert isinstance(tokenizer, narrows.ImageTokenizer)
    assert_type(tokenizer.encode(np.zeros((3, 16, 16), np.uint8), quality=2), narrows.Tokens)


def test_types_of_a_folder(tmp_path: Path) -> None:
    speech = narrows.load("speech")
    narrows.save(tmp_path / "model", speech)
    tokenizer = narrows.load(tmp_path / "model")
    assert_type(tokenizer, narrows.Tokenizer)
    assert tokenizer.fingerprint == speech.fingerprint
    assert_type(narrows.parts.names("encoder"), list[str])
    assert_type(tokenizer.encode_file(Path(__file__).parents[1] / "examples" / "speech.wav"), narrows.Tokens)
