"""Checks of the two signals that a metric compares, and their arrays."""

from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError
from narrows.evaluation.base import NotMeasurable
from narrows.media.audio import Audio
from narrows.media.image import Image
from narrows.media.medium import Signal
from narrows.media.video import Video

Channel = NDArray[np.float32]  # (T,)
Pixels = NDArray[np.uint8]  # (3, H, W)


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
    x, y = _of_medium("audio", reference, decoded)
    original, coded = cast(Audio, x), cast(Audio, y)
    if (original.sample_rate, original.samples.shape) != (coded.sample_rate, coded.samples.shape):
        got = " and ".join(f"{each.samples.shape} at {each.sample_rate} Hz" for each in (original, coded))
        raise InputError(f"expected two audio signals of one shape and sample rate, got {got}")
    if not np.isfinite(original.samples).all() or not np.isfinite(coded.samples).all():
        raise NotMeasurable("samples are not finite")
    return original.samples, coded.samples, original.sample_rate


def image_pair(reference: Signal, decoded: Signal, min_side: int = 1) -> tuple[Pixels, Pixels]:
    """Pixels (C, H, W) of both.

    Raises:
        NotMeasurable: A side is shorter than `min_side` pixels.
        InputError: One is audio, or they differ in size.
    """
    x, y = _of_medium("image", reference, decoded)
    original, coded = cast(Image, x).pixels, cast(Image, y).pixels
    if original.shape != coded.shape:
        raise InputError(f"expected two images of one shape, got {original.shape} and {coded.shape}")
    if min(original.shape[1:]) < min_side:
        raise NotMeasurable(f"a side is shorter than {min_side} pixels")
    return original, coded


def video_pair(reference: Signal, decoded: Signal) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels (3, T, H, W) of both. Raises InputError for another medium, or if they differ in frames or size."""
    x, y = _of_medium("video", reference, decoded)
    original, coded = cast(Video, x).pixels, cast(Video, y).pixels
    if original.shape != coded.shape:
        raise InputError(f"expected two clips of one shape, got {original.shape} and {coded.shape}")
    return original, coded


def _of_medium(medium: str, reference: Signal, decoded: Signal) -> tuple[Signal, Signal]:
    """Both signals. Raises InputError for a signal of another medium, NotMeasurable for an empty one."""
    for signal in (reference, decoded):
        if signal.array.size == 0:
            raise NotMeasurable("no samples")
        if signal.medium != medium:
            raise InputError(f"expected {medium} for both, got {signal.medium}")
    return reference, decoded


def _resample(x: NDArray[np.float32], original: int, rate: int) -> NDArray[np.float32]:
    import soxr

    return soxr.resample(np.ascontiguousarray(x.T), original, rate, quality="VHQ").T
