"""Sample rates: blocks of audio at one rate to blocks at another, the same however the signal is cut into blocks."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

Block = NDArray[np.float32]


def resampled(blocks: Iterable[Block], rate: int, wanted: int, samples: int) -> Iterator[Block]:
    """Blocks (C, n) at `rate` Hz to blocks (C, m) at `wanted` Hz, exactly `samples` of them in all.

    Missing samples at the end are zeros, surplus ones are dropped: rates rarely divide each other.
    """
    left, channels = samples, 1
    for block in blocks if rate == wanted else _converted(blocks, rate, wanted):
        channels = len(block)
        if block.shape[1] and left:
            yield block[:, :left]
            left -= min(left, block.shape[1])
    if left:
        yield np.zeros((channels, left), np.float32)


def _converted(blocks: Iterable[Block], rate: int, wanted: int) -> Iterator[Block]:
    stream, channels = None, 1
    for block in blocks:
        if stream is None:
            channels = len(block)
            stream = soxr.ResampleStream(rate, wanted, channels, dtype="float32", quality="HQ")
        yield stream.resample_chunk(np.ascontiguousarray(block.T), last=False).reshape(-1, channels).T
    if stream is not None:
        yield stream.resample_chunk(np.zeros((0, channels), np.float32), last=True).reshape(-1, channels).T
