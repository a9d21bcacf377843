"""Sample rates: blocks of audio at one rate to blocks at another, the same however the signal is cut into blocks."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

Block = NDArray[np.float32]


def resampled(
    blocks: Iterable[Block], rate: int, wanted: int, samples: int | Callable[[], int], slack: int = 0
) -> Iterator[Block]:
    """Blocks (C, n) at one rate to blocks (C, m) at another, of an exact length.

    Missing samples at the end are zeros, surplus samples are dropped: rates rarely divide each other.

    Args:
        blocks: consecutive blocks of a signal.
        rate: of the blocks, in Hz.
        wanted: of the result, in Hz.
        samples: of the result in all; a function where that is only known once all blocks have been read.
        slack: with such a function, the most samples by which the result may have to be shortened.
    """
    converted = iter(blocks) if rate == wanted else _converted(blocks, rate, wanted)
    return _exact(converted, samples) if isinstance(samples, int) else _exact_at_end(converted, samples, slack)


def _exact(blocks: Iterator[Block], samples: int) -> Iterator[Block]:
    left, channels = samples, 1
    for block in blocks:
        channels = len(block)
        if block.shape[1] and left:
            yield block[:, :left]
            left -= min(left, block.shape[1])
    if left:
        yield np.zeros((channels, left), np.float32)


def _exact_at_end(blocks: Iterator[Block], samples: Callable[[], int], slack: int) -> Iterator[Block]:
    held, done = np.empty((1, 0), np.float32), 0
    for block in blocks:
        held = np.concatenate([held, block], 1) if held.size else block
        if held.shape[1] > slack:
            yield held[:, : held.shape[1] - slack]
            done += held.shape[1] - slack
            held = held[:, held.shape[1] - slack :]
    left = samples() - done
    yield np.pad(held[:, :left], ((0, 0), (0, max(0, left - held.shape[1]))))


def _converted(blocks: Iterable[Block], rate: int, wanted: int) -> Iterator[Block]:
    stream, channels = None, 1
    for block in blocks:
        if stream is None:
            channels = len(block)
            stream = soxr.ResampleStream(rate, wanted, channels, dtype="float32", quality="HQ")
        yield stream.resample_chunk(np.ascontiguousarray(block.T), last=False).reshape(-1, channels).T
    if stream is not None:
        yield stream.resample_chunk(np.zeros((0, channels), np.float32), last=True).reshape(-1, channels).T
