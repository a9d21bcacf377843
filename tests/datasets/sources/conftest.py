from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from narrows.datasets.base import SourceItem
from narrows.datasets.sources import open_item
from narrows.errors import InputError
from narrows.media.files import MemoryFile


@pytest.fixture
def refusal() -> Callable[..., str]:
    """Calls something that has to fail and returns the line that a person would see."""

    def line(call: Callable[..., Any], *arguments: Any, error: type[Exception] = InputError, **options: Any) -> str:
        with pytest.raises(error) as caught:
            call(*arguments, **options)
        message = str(caught.value)
        assert "\n" not in message
        return message

    return line


@pytest.fixture
def folder(tmp_path) -> Callable[[Mapping[str, bytes]], Path]:
    """Makes files with these names and bytes below a folder."""

    def made(files: Mapping[str, bytes]) -> Path:
        for name, data in files.items():
            path = tmp_path / "source" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return tmp_path / "source"

    return made


@pytest.fixture
def content() -> Callable[[SourceItem], bytes]:
    """The bytes of an item, as a reader of media would get them."""

    def read(item: SourceItem) -> bytes:
        source = open_item(item)
        return source.data if isinstance(source, MemoryFile) else Path(source).read_bytes()

    return read
