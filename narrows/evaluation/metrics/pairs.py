"""Two signals that a metric compares: checked, and as the arrays that it computes with."""

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
    """Mean over the channels of measure(reference (T,), decoded (T,), rate in Hz).

    rate: both are resampled to it; measured as they are unless given.
    Raises NotMeasurable for a channel that is silent in the reference, for samples and results that are not finite.
    """
    x, y, given = sounds(reference, decoded)
    silent = [str(number) for number, channel in enumerate(x, 1) if not channel.any()]
    if silent:
        raise NotMeasurable("silence" if len(silent) == len(x) else f"silence in channel {', '.join(silent)}")
    if rate is not None and rate != given:
        x, y = _resampled(x, given, rate), _resampled(y, given, rate)
    value = float(np.mean([measure(a, b, rate or given) for a, b in zip(x, y, strict=True)]))
    if not np.isfinite(value):
        raise NotMeasurable("the result is not finite")
    return value


def sounds(reference: Signal, decoded: Signal) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Samples (C, T) of both, and their rate in Hz. Raises NotMeasurable for samples that are not finite.

    Raises InputError for a picture and for two sounds that differ in rate or shape.
    """
    if not isinstance(reference, Sound) or not isinstance(decoded, Sound):
        raise InputError("a picture given, two sounds wanted")
    if (reference.rate, reference.samples.shape) != (decoded.rate, decoded.samples.shape):
        given = " and ".join(f"{x.samples.shape} at {x.rate} Hz" for x in (reference, decoded))
        raise InputError(f"sounds of shapes {given} given, one shape and rate wanted")
    if reference.samples.size == 0:
        raise NotMeasurable("no samples")
    if not np.isfinite(reference.samples).all() or not np.isfinite(decoded.samples).all():
        raise NotMeasurable("samples are not finite")
    return reference.samples, decoded.samples, reference.rate


def pictures(reference: Signal, decoded: Signal, least_side: int = 1) -> tuple[Pixels, Pixels]:
    """Pixels (H, W, 3) of both. Raises NotMeasurable where a side has fewer than `least_side` pixels.

    Raises InputError for a sound and for two pictures that differ in size.
    """
    if not isinstance(reference, Picture) or not isinstance(decoded, Picture):
        raise InputError("a sound given, two pictures wanted")
    if reference.pixels.shape != decoded.pixels.shape:
        raise InputError(
            f"pictures of shapes {reference.pixels.shape} and {decoded.pixels.shape} given, one shape wanted"
        )
    if min(reference.pixels.shape[:2]) < least_side:
        raise NotMeasurable(f"a side is shorter than {least_side} pixels")
    return reference.pixels, decoded.pixels


def _resampled(x: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    import soxr

    return soxr.resample(np.ascontiguousarray(x.T), rate, wanted, quality="VHQ").T
