"""PSNR of images."""

import numpy as np

from narrows.evaluation.base import Metric, NotMeasurable
from narrows.evaluation.metrics.pairs import image_pair
from narrows.evaluation.metrics.video import VIDEO_PSNR
from narrows.media.medium import Signal


def psnr(reference: Signal, decoded: Signal) -> float:
    """Peak signal-to-noise ratio in dB over the values of all channels together, peak 255."""
    x, y = image_pair(reference, decoded)
    error = sum(float(np.square(a.astype(np.float64) - b).sum()) for a, b in zip(x, y, strict=True)) / x.size
    if error == 0:
        raise NotMeasurable("identical")
    return 10 * float(np.log10(255**2 / error))


PSNR = Metric(
    name="psnr",
    medium="image",
    unit="dB",
    better="higher",
    description=(
        "Peak signal-to-noise ratio over the values of red, green and blue together, 8 bits. Undefined for identical "
        "images."
    ),
    measure=psnr,
    video=VIDEO_PSNR,
)
