"""Metrics of clips: PSNR over all frames, the worst frame, and flicker. One frame is converted to numbers at a time."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from narrows.evaluation.base import Metric, NotMeasurable
from narrows.evaluation.metrics.pairs import video_pair
from narrows.media.medium import Signal

MAX_PSNR = 60.0  # dB; of a frame of 8 bits, as in libvmaf
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32) * 219 / 255  # of BT.709, in limited range


def psnr(reference: Signal, decoded: Signal) -> float:
    """Mean over frames of the PSNR in dB of red, green and blue together, at most 60 dB each."""
    return float(np.mean(_frame_psnr(_errors(reference, decoded))))


def worst_frame_psnr(reference: Signal, decoded: Signal) -> float:
    """Lowest PSNR in dB of a frame."""
    return float(np.min(_frame_psnr(_errors(reference, decoded))))


def luma_psnr(reference: Signal, decoded: Signal) -> float:
    """Mean over frames of the PSNR in dB of luma, at most 60 dB each."""
    errors = _errors(reference, decoded)
    return float(np.mean(_frame_psnr(np.tensordot(LUMA, error, 1).astype(np.float32) for error in errors)))


def flicker(reference: Signal, decoded: Signal) -> float:
    """Root mean square over the clip of (d[t] - d[t-1]) - (x[t] - x[t-1]), x the reference and d the decoded frames."""
    total, values, before = 0.0, 0, None
    for error in _errors(reference, decoded):
        if before is not None:
            total += _sum_of_squares(error - before)
            values += error.size
        before = error
    if not values:
        raise NotMeasurable("one frame")
    return float((total / values) ** 0.5)


def _errors(reference: Signal, decoded: Signal) -> Iterator[NDArray[np.int16]]:
    """Decoded minus reference (3, H, W) of each frame."""
    x, y = video_pair(reference, decoded)
    for place in range(x.shape[1]):
        yield y[:, place].astype(np.int16) - x[:, place]


def _frame_psnr(errors: Iterator[NDArray[np.int16]] | Iterator[NDArray[np.float32]]) -> NDArray[np.float64]:
    means = np.array([_sum_of_squares(error) / error.size for error in errors])
    if not means.any():
        raise NotMeasurable("identical")
    return np.minimum(10 * np.log10(255**2 / np.maximum(means, 1e-9)), MAX_PSNR)


def _sum_of_squares(x: NDArray[np.int16] | NDArray[np.float32]) -> float:
    return float(np.square(x, dtype=np.float32 if x.dtype == np.float32 else np.int32).sum(dtype=np.float64))


_CAP = (
    f"a frame counts as at most {MAX_PSNR:g} dB, also an identical one, as in libvmaf. Undefined for identical clips."
)
VIDEO_PSNR = Metric(
    name="psnr",
    medium="video",
    unit="dB",
    better="higher",
    description=(
        "Mean over all frames of the peak signal-to-noise ratio over the values of red, green and blue together, 8 "
        f"bits; {_CAP}"
    ),
    measure=psnr,
)
LUMA_PSNR = Metric(
    name="psnr-y",
    medium="video",
    unit="dB",
    better="higher",
    description=(
        "Mean over all frames of the peak signal-to-noise ratio of luma, by BT.709 from red, green and blue of 8 bits, "
        f"in limited range with peak 255, as encoders report it; {_CAP}"
    ),
    measure=luma_psnr,
)
WORST_FRAME_PSNR = Metric(
    name="worst-frame-psnr",
    medium="video",
    unit="dB",
    better="higher",
    description="The lowest psnr of a frame of the clip.",
    measure=worst_frame_psnr,
)
FLICKER = Metric(
    name="flicker",
    medium="video",
    unit="levels",
    better="lower",
    description=(
        "Root mean square over the clip of (d[t] - d[t-1]) - (x[t] - x[t-1]), the error of the differences of "
        "successive frames, x the reference and d the decoded clip, over red, green and blue in levels of 8 bits. A "
        "definition of this library. Undefined for one frame."
    ),
    measure=flicker,
)
