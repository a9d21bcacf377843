import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from narrows.errors import MediaError


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fsync: hundreds of small files need not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def error_message() -> Callable[..., str]:
    """error_message(call, ...) -> the message of the error that the call must raise."""

    def message_of(
        call: Callable[..., Any], *arguments: Any, error: type[Exception] = MediaError, **options: Any
    ) -> str:
        with pytest.raises(error) as caught:
            call(*arguments, **options)
        message = str(caught.value)
        assert "\n" not in message
        assert "Error" not in message  # no name of a Python class
        return message

    return message_of


@pytest.fixture
def noise() -> NDArray[np.float32]:
    """Two channels of low-passed noise (2, 30 000): no two parts of it are equal."""
    white = np.random.default_rng(0).standard_normal((2, 30_000))
    return np.float32(0.3 * np.apply_along_axis(np.convolve, 1, white, np.ones(8) / 8, "same"))


@pytest.fixture
def encode() -> Callable[..., None]:
    """encode(path, samples (2, n), rate, ...) writes a file with an encoder and a container of FFmpeg."""

    def write(
        path: Path,
        samples: NDArray[np.float32],
        rate: int,
        codec: str = "aac",
        container: str = "ipod",
        layout: str = "stereo",
        **options: str,
    ) -> None:
        planar = codec != "libopus"
        values = samples if planar else samples.T.reshape(1, -1)
        if codec == "alac":
            values = np.int16(values * 32767)
        kind = {"alac": "s16p", "libopus": "flt"}.get(codec, "fltp")
        with av.open(str(path), "w", format=container, options=options) as file:
            stream = file.add_stream(codec, rate=rate, layout=layout)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(values), format=kind, layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            for part in (frame, None):
                for packet in stream.encode(part):
                    file.mux(packet)

    return write
