import subprocess
import sys

import pytest

import narrows


def test_the_public_names_are_these() -> None:
    assert narrows.__all__ == ["AudioTokenizer", "ImageTokenizer", "Tokens", "load", "models"]
    for name in narrows.__all__:
        assert getattr(narrows, name) is not None


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        narrows.lod  # noqa: B018


def test_importing_the_package_needs_no_torch() -> None:
    code = "import sys, narrows, narrows.cli; narrows.models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
