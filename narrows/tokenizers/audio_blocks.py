"""Recordings as blocks of samples, checked, and cut into the windows that the network gets."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from narrows.errors import InputError
from narrows.media.audio.limits import channels_error, samples_error
from narrows.tokenizers.channels import as_array
from narrows.tokenizers.resampling import Block
from narrows.tokenizers.windows import Window

Array = Tensor | NDArray[np.floating]


class CheckedBlocks:
    """Iterates over blocks once: checks them and counts the samples."""

    def __init__(self, blocks: Iterable[Block], expected: int | None) -> None:
        self._blocks, self._expected = blocks, expected
        self.samples, self.channels = 0, 0

    def __iter__(self) -> Iterator[Block]:
        for block in self._blocks:
            valid = block.ndim == 2 and block.dtype == np.float32 and 0 not in block.shape
            if not valid or self.channels not in (0, len(block)):
                shape = f"({self.channels}, n)" if self.channels else "(T,) or (C, T), T at least 1,"
                raise InputError(f"expected audio {shape} float32, got {block.dtype} of shape {block.shape}")
            self.channels = len(block)
            if message := channels_error(self.channels) or samples_error(block, self.samples):
                raise InputError(message)
            self.samples += block.shape[1]
            yield block
        if self._expected not in (None, self.samples):
            raise InputError(f"expected blocks of {self._expected} samples in total, got {self.samples}")


def windows_of_known_length(
    windows: Iterable[Window], signal: Iterator[Block], stride: int, length: int
) -> Iterator[tuple[Window, Block]]:
    """Windows with their samples (C, T), from a signal of `length` samples that is read once."""
    held, offset = next(signal), 0  # samples [offset, offset + held.shape[1]) of the signal
    for window in windows:
        begin, end = window.start * stride, min(length, window.stop * stride)
        parts, have = [held[:, begin - offset :]], held.shape[1] + offset
        while have < end:
            parts.append(next(signal))
            have += parts[-1].shape[1]
        held, offset = parts[0] if len(parts) == 1 else np.concatenate(parts, 1), begin
        yield window, held[:, : end - begin]


def windows_of_unknown_length(
    signal: Iterator[Block], size: int, reach: tuple[int, int], stride: int
) -> Iterator[tuple[Window, Block]]:
    """Windows of `size` frames of a signal whose length is not known in advance; the last is aligned to the end."""
    held = np.empty((0, 0), np.float32)  # samples from frame `offset` on, the start of the current window
    offset, first, step, done = 0, 0, size - sum(reach), False  # done: whether the current window was yielded
    for block in signal:
        held = np.concatenate([held, block], 1) if held.size else block
        while (
            held.shape[1] > (size + step if done else size) * stride
        ):  # there are more samples, so this window is not the last
            if done:
                held, offset = held[:, step * stride :], offset + step
            else:
                last = offset + size - reach[1]
                yield Window(offset, offset + size, first, last), held[:, : size * stride]
                first = last
            done = not done
    frames = offset + -(-held.shape[1] // stride)
    start = max(offset, frames - size)
    yield Window(start, frames, first, frames), held[:, (start - offset) * stride :]


def as_block(x: Array) -> Block:
    """Check the shape and type of audio and return it as an array (C, T) float32."""
    array = as_array(x)
    if array.ndim not in (1, 2):
        raise InputError(f"expected audio (T,) or (C, T), got shape {tuple(array.shape)}")
    if array.dtype.kind != "f":
        raise InputError(f"expected audio as floats with full scale 1, got {array.dtype}; divide int16 by 32768")
    with np.errstate(over="ignore"):  # a float64 too large for float32 becomes infinity, which is rejected later
        block: Block = array.astype(np.float32, copy=False)
    return block[None] if block.ndim == 1 else block
