"""Checks of the two signals that a metric compares, and their arrays."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError
from narrows.evaluation.base import NotMeasurable, Picture, Signal, Sound

Channel = NDArray[np.float32]  # (T,)
Pixels = NDArray[np.uint8]  # (H, W, 3)


def mean_of_channels(
    reference: Signal, decoded: Signal, measure: Callable[[Channel, Channel, int], float], rate: int | None = None
) -> float:
    """Mean of a single-channel metric over the channels.

    Args:
        reference: Original audio.
        decoded: Of the same shape and sample rate.
        measure: Function of (reference (T,), decoded (T,), sample rate in Hz).
        rate: Sample rate in Hz to which both are resampled; None for their own.

    Returns:
        The mean, finite.

    Raises:
        NotMeasurable: A channel of the reference is silent, or samples or the result are not finite.
        InputError: See `audio_pair`.
    """
    x, y, original_rate = audio_pair(reference, decoded)
    silent = [str(number) for number, channel in enumerate(x, 1) if not channel.any()]
    if silent:
        raise NotMeasurable("silence" if len(silent) == len(x) else f"silence in channel {', '.join(silent)}")
    if rate is not None and rate != original_rate:
        x, y = _resample(x, original_rate, rate), _resample(y, original_rate, rate)
    value = float(np.mean([measure(a, b, rate or original_rate) for a, b in zip(x, y, strict=True)]))
    if not np.isfinite(value):
        raise NotMeasurable("the result is not finite")
    return value


def audio_pair(reference: Signal, decoded: Signal) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Samples (C, T) of both, and their sample rate in Hz.

    Raises:
        NotMeasurable: There are no samples, or some are not finite.
        InputError: One is an image, or they differ in sample rate or shape.
    """
    if not isinstance(reference, Sound) or not isinstance(decoded, Sound):
        raise InputError("expected two audio signals, got an image")
    if (reference.rate, reference.samples.shape) != (decoded.rate, decoded.samples.shape):
        got = " and ".join(f"{x.samples.shape} at {x.rate} Hz" for x in (reference, decoded))
        raise InputError(f"expected two audio signals of one shape and sample rate, got {got}")
    if reference.samples.size == 0:
        raise NotMeasurable("no samples")
    if not np.isfinite(reference.samples).all() or not np.isfinite(decoded.samples).all():
        raise NotMeasurable("samples are not finite")
    return reference.samples, decoded.samples, reference.rate


def image_pair(reference: Signal, decoded: Signal, min_side: int = 1) -> tuple[Pixels, Pixels]:
    """Pixels (H, W, 3) of both.

    Raises:
        NotMeasurable: A side is shorter than `min_side` pixels.
        InputError: One is audio, or they differ in size.
    """
    if not isinstance(reference, Picture) or not isinstance(decoded, Picture):
        raise InputError("expected two images, got audio")
    if reference.pixels.shape != decoded.pixels.shape:
        raise InputError(f"expected two images of one shape, got {reference.pixels.shape} and {decoded.pixels.shape}")
    if min(reference.pixels.shape[:2]) < min_side:
        raise NotMeasurable(f"a side is shorter than {min_side} pixels")
    return reference.pixels, decoded.pixels


def _resample(x: NDArray[np.float32], original: int, rate: int) -> NDArray[np.float32]:
    import soxr

    return soxr.resample(np.ascontiguousarray(x.T), original, rate, quality="VHQ").T
