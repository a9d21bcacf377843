from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@pytest.fixture
def moving() -> Callable[..., list[Pixels]]:
    """moving(frames, height, width) -> frames (3, H, W) of a picture that moves; no two are equal."""

    def make(frames: int = 12, height: int = 32, width: int = 48) -> list[Pixels]:
        rng = np.random.default_rng(0)
        small = rng.integers(0, 256, (3, (height + frames) // 4 + 1, (width + frames) // 4 + 1))
        picture = small.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)
        return [np.ascontiguousarray(picture[:, at : at + height, at : at + width]) for at in range(frames)]

    return make


@pytest.fixture
def tones() -> NDArray[np.float32]:
    """One channel of 44 100 samples: a short burst around sample 20 000, silence elsewhere."""
    at = np.arange(44_100)
    return np.float32(0.4 * np.sin(at * 0.07) * np.exp(-(((at - 20_000) / 300) ** 2)))[None]


@pytest.fixture
def encode() -> Callable[..., None]:
    """encode(path, frames of one pixel format, ...) writes a file with an encoder and a container of FFmpeg.

    Each frame is a list of planes (h, w) of uint8 or uint16, or a number per plane for a flat frame of `size` (H, W).
    """

    def write(
        path: Path,
        frames: Sequence[Any],
        size: tuple[int, int] = (32, 48),
        codec: str = "ffv1",
        pixel_format: str = "yuv420p",
        container: str = "matroska",
        base: Fraction = Fraction(1, 25),
        stamps: Sequence[int] | None = None,
        options: dict[str, str] | None = None,
        muxer: dict[str, str] | None = None,
        matrix: int = 2,
        full: int = 0,
        curve: int = 2,
        primaries: int = 2,
        aspect: Fraction | None = None,
        display: Sequence[int] | None = None,
    ) -> None:
        with av.open(str(path), "w", format=container, container_options=muxer or {}) as file:
            stream = file.add_stream(
                codec, rate=1 / base, options=options or ({"level": "1"} if codec == "ffv1" else {})
            )
            context = stream.codec_context
            context.height, context.width = size
            context.pix_fmt, context.time_base = pixel_format, base
            context.colorspace, context.color_range = matrix, full
            context.color_trc, context.color_primaries = curve, primaries
            if aspect is not None:
                context.sample_aspect_ratio = aspect
            if display is not None:
                stream.set_display_matrix(list(display))
            for place, planes in enumerate(frames):
                frame = av.VideoFrame(size[1], size[0], pixel_format)
                for plane, values in zip(frame.planes, planes, strict=True):
                    deep = any(component.bits > 8 for component in frame.format.components)
                    target = np.frombuffer(plane, np.uint16 if deep else np.uint8)
                    row = plane.line_size // target.itemsize
                    values = np.asarray(values)
                    if values.ndim:
                        target.reshape(-1, row)[: values.shape[0], : values.shape[1]] = values
                    else:
                        target[:] = values
                frame.colorspace, frame.color_range = matrix, full
                frame.pts, frame.time_base = stamps[place] if stamps else place, base
                for packet in stream.encode(frame):
                    file.mux(packet)
            for packet in stream.encode(None):
                file.mux(packet)

    return write
