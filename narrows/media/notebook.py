"""Signals as HTML, for notebooks. A long recording is cut, a large picture is shown smaller, and both say so."""

import base64
import html
import io
from collections.abc import Iterable, Sequence

from PIL import Image as PILImage

MAX_SECONDS = 60
MAX_CHANNELS = 2
MAX_SAMPLES = 2_000_000  # of all channels: 4 MB
MAX_SIDE = 1024  # pixels
MAX_BYTES = 500_000  # of a picture; what takes more is shown smaller, or compressed


def player(wav: bytes, caption: str) -> str:
    """A player for the bytes of a WAV file, with a line of text."""
    return f'<audio controls src="{_data("audio/wav", wav)}"></audio><br>{html.escape(caption)}'


def picture(image: PILImage.Image, caption: str) -> str:
    """A picture of at most `MAX_SIDE` pixels on a side and about `MAX_BYTES`, with a line of text."""
    size, content, kind = image.size, b"", ""
    for kind, side in (("png", MAX_SIDE), ("webp", MAX_SIDE), ("webp", MAX_SIDE // 2)):
        if max(image.size) > side:
            image = image.copy()
            image.thumbnail((side, side))
        file = io.BytesIO()
        image.save(file, kind, quality=85)
        content = file.getvalue()
        if len(content) <= MAX_BYTES:
            break
    if image.size != size:
        caption += f", shown at {image.width} × {image.height}"
    return f'<img src="{_data(f"image/{kind}", content)}"><br>{html.escape(caption)}'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts."""

    def line(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"

    return f"<table>{line(head, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
