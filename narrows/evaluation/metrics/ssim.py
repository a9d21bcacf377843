"""SSIM and MS-SSIM: similarity of local means, contrasts and structures."""

import numpy as np
from numpy.typing import NDArray

from narrows.evaluation.base import Metric, NotMeasurable
from narrows.evaluation.metrics.pairs import image_pair
from narrows.media.medium import Signal

WINDOW, SIGMA = 11, 1.5  # pixels
MARGIN = WINDOW // 2
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # stabilise the ratios
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # per scale (Wang, Simoncelli, Bovik, 2003, section 3.2)
STRIP = 64  # rows compared at once; bounds the memory and keeps the data in the CPU cache

Samples = NDArray[np.uint8] | NDArray[np.float64]  # (H, W, 3), 0 to 255

_gaussian = np.exp(-np.square(np.arange(WINDOW) - MARGIN) / (2 * SIGMA**2))
TAPS = _gaussian / _gaussian.sum()


def ssim(reference: Signal, decoded: Signal) -> float:
    """Structural similarity (Wang et al., IEEE TIP 13(4), 2004), at most 1."""
    return _similarity(*image_pair(reference, decoded, WINDOW))[0]


def ms_ssim(reference: Signal, decoded: Signal) -> float:
    """Structural similarity at five scales (Wang, Simoncelli and Bovik, Asilomar 2003), 0 to 1."""
    min_side = WINDOW * 2 ** (len(EXPONENTS) - 1)  # the window fits into the smallest scale
    x: Samples
    y: Samples
    x, y = image_pair(reference, decoded, min_side)
    product = 1.0
    for exponent in EXPONENTS[:-1]:
        product *= max(_similarity(x, y)[1], 0.0) ** exponent
        x, y = _halved(x), _halved(y)
    return float(product * max(_similarity(x, y)[0], 0.0) ** EXPONENTS[-1])


def ms_ssim_db(reference: Signal, decoded: Signal) -> float:
    """-10 log10(1 - MS-SSIM) in dB, which spreads out values near 1."""
    missing = 1 - ms_ssim(reference, decoded)
    if missing <= 0:
        raise NotMeasurable("identical")
    return -10 * float(np.log10(missing))


def _similarity(x: Samples, y: Samples) -> tuple[float, float]:
    """Mean SSIM, and mean contrast-structure term over the positions where the whole window fits.

    Means over channels and positions; borders are padded by reflection.
    """
    channels, height, width = x.shape
    x, y = _padded(x), _padded(y)
    ssim_sum = contrast_sum = 0.0
    for top in range(0, height, STRIP):
        rows = slice(top, top + STRIP + 2 * MARGIN)
        inner = slice(max(MARGIN - top, 0), max(height - MARGIN - top, 0)), slice(MARGIN, -MARGIN)
        for a, b in zip(x[:, rows], y[:, rows], strict=True):
            a, b = a.astype(np.float64), b.astype(np.float64)
            mean_a, mean_b = _blurred(a), _blurred(b)
            product, squares = mean_a * mean_b, mean_a**2 + mean_b**2
            covariance, variances = _blurred(a * b) - product, _blurred(a**2 + b**2) - squares
            contrast = (2 * covariance + C2) / (variances + C2)
            ssim_sum += float((contrast * (2 * product + C1) / (squares + C1)).sum())
            contrast_sum += float(contrast[inner].sum())
    positions = (height - 2 * MARGIN) * (width - 2 * MARGIN) * channels
    return ssim_sum / (height * width * channels), contrast_sum / positions


def _padded(x: Samples) -> Samples:
    padded: Samples = np.pad(x, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), mode="reflect")  # type: ignore
    return padded


def _blurred(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian filter (H, W) to (H - 10, W - 10), without padding."""
    for _ in range(2):  # along the columns, then, transposed, along the rows
        rows = len(x) - 2 * MARGIN
        total = TAPS[MARGIN] * x[MARGIN : MARGIN + rows]
        for i in range(MARGIN):
            total += TAPS[i] * (x[i : i + rows] + x[2 * MARGIN - i : 2 * MARGIN - i + rows])
        x = total.T
    return x


def _halved(x: Samples) -> NDArray[np.float64]:
    """2 × 2 average pooling (C, H, W) to (C, H // 2, W // 2)."""
    height, width = x.shape[1] // 2, x.shape[2] // 2
    x = x[:, : 2 * height, : 2 * width]
    total = np.zeros((len(x), height, width))
    for part in (x[:, ::2, ::2], x[:, ::2, 1::2], x[:, 1::2, ::2], x[:, 1::2, 1::2]):
        total += part
    return total / 4


SSIM = Metric(
    name="ssim",
    medium="image",
    unit="",
    better="higher",
    description=(
        "Structural similarity (Wang et al., 2004), at most 1: Gaussian window of 11 pixels, sigma 1.5, K 0.01 and "
        "0.03, mean over red, green and blue, 8 bits, borders padded by reflection, as in torchmetrics."
    ),
    measure=ssim,
)
MS_SSIM = Metric(
    name="ms-ssim",
    medium="image",
    unit="",
    better="higher",
    description=(
        "Structural similarity at five scales (Wang, Simoncelli and Bovik, 2003), 0 to 1: parameters of ssim, each "
        "scale's mean over red, green and blue, as in torchmetrics. Sides of at least 176 pixels."
    ),
    measure=ms_ssim,
)
MS_SSIM_DB = Metric(
    name="ms-ssim-db",
    medium="image",
    unit="dB",
    better="higher",
    description="-10 log10(1 - ms-ssim). Undefined for identical images.",
    measure=ms_ssim_db,
)
