"""Signals as HTML, for notebooks. A long recording is cut, a large picture is shown smaller, and both say so."""

import base64
import html
import io
from collections.abc import Iterable, Sequence

from PIL import Image as PILImage

MAX_SECONDS = 60
MAX_CHANNELS = 2
MAX_SIDE = 1024  # pixels


def player(wav: bytes, caption: str) -> str:
    """A player for the bytes of a WAV file, with a line of text."""
    return f'<audio controls src="{_data("audio/wav", wav)}"></audio><br>{html.escape(caption)}'


def picture(image: PILImage.Image, caption: str) -> str:
    """A picture of at most `MAX_SIDE` pixels on a side, with a line of text."""
    if max(image.size) > MAX_SIDE:
        image = image.copy()
        image.thumbnail((MAX_SIDE, MAX_SIDE))
        caption += f", shown at {image.width} × {image.height}"
    file = io.BytesIO()
    image.save(file, "PNG")
    return f'<img src="{_data("image/png", file.getvalue())}"><br>{html.escape(caption)}'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts."""

    def line(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"

    return f"<table>{line(head, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
