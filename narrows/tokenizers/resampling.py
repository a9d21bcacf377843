"""Resampling of audio in blocks. The result does not depend on where the signal is split into blocks."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

Block = NDArray[np.float32]


def resample_blocks(
    blocks: Iterable[Block], source_rate: int, target_rate: int, samples: int | Callable[[], int], max_surplus: int = 0
) -> Iterator[Block]:
    """Resample blocks (C, n) to blocks (C, m) at another rate, to an exact total length.

    The end is padded with zeros or cut, because the resampled length is rarely a whole number.

    Args:
        blocks: consecutive blocks of a signal.
        source_rate: sample rate of the blocks, in Hz.
        target_rate: sample rate of the result, in Hz.
        samples: total samples per channel of the result; a function if this is only known after the last block.
        max_surplus: if `samples` is a function, the largest number of samples that may have to be cut at the end.
    """
    converted = iter(blocks) if source_rate == target_rate else _resample(blocks, source_rate, target_rate)
    if isinstance(samples, int):
        return _fit_length(converted, samples)
    return _fit_length_at_end(converted, samples, max_surplus)


def _fit_length(blocks: Iterator[Block], samples: int) -> Iterator[Block]:
    left, channels = samples, 1
    for block in blocks:
        channels = len(block)
        if block.shape[1] and left:
            yield block[:, :left]
            left -= min(left, block.shape[1])
    if left:
        yield np.zeros((channels, left), np.float32)


def _fit_length_at_end(blocks: Iterator[Block], samples: Callable[[], int], max_surplus: int) -> Iterator[Block]:
    held, done = np.empty((1, 0), np.float32), 0
    for block in blocks:
        held = np.concatenate([held, block], 1) if held.size else block
        if held.shape[1] > max_surplus:
            yield held[:, : held.shape[1] - max_surplus]
            done += held.shape[1] - max_surplus
            held = held[:, held.shape[1] - max_surplus :]
    left = samples() - done
    yield np.pad(held[:, :left], ((0, 0), (0, max(0, left - held.shape[1]))))


def _resample(blocks: Iterable[Block], source_rate: int, target_rate: int) -> Iterator[Block]:
    stream, channels = None, 1
    for block in blocks:
        if stream is None:
            channels = len(block)
            stream = soxr.ResampleStream(source_rate, target_rate, channels, dtype="float32", quality="HQ")
        yield stream.resample_chunk(np.ascontiguousarray(block.T), last=False).reshape(-1, channels).T
    if stream is not None:
        yield stream.resample_chunk(np.zeros((0, channels), np.float32), last=True).reshape(-1, channels).T
