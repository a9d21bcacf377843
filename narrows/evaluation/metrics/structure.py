"""SSIM and MS-SSIM: likeness of local means, contrasts and structures."""

import numpy as np
from numpy.typing import NDArray

from narrows.evaluation.base import Metric, NotMeasurable, Signal
from narrows.evaluation.metrics.pairs import pictures

WINDOW, SIGMA = 11, 1.5  # pixels
MARGIN = WINDOW // 2
MEANS, CONTRASTS = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # what keeps the ratios finite: C1 and C2
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales (Wang, Simoncelli, Bovik, 2003, section 3.2)
STRIP = 64  # rows that are compared at once: their sums stay in the cache, and memory does not grow with the picture

Samples = NDArray[np.uint8] | NDArray[np.float64]  # (H, W, 3), 0 to 255

_bell = np.exp(-np.square(np.arange(WINDOW) - MARGIN) / (2 * SIGMA**2))
TAPS = _bell / _bell.sum()


def ssim(reference: Signal, decoded: Signal) -> float:
    """Structural similarity (Wang et al., IEEE TIP 13(4), 2004), up to 1."""
    return _similarity(*pictures(reference, decoded, WINDOW))[0]


def ms_ssim(reference: Signal, decoded: Signal) -> float:
    """Structural similarity at five scales (Wang, Simoncelli and Bovik, Asilomar 2003), 0 to 1."""
    least = WINDOW * 2 ** (len(EXPONENTS) - 1)  # the window fits into the smallest scale
    x: Samples
    y: Samples
    x, y = pictures(reference, decoded, least)
    product = 1.0
    for exponent in EXPONENTS[:-1]:
        product *= max(_similarity(x, y)[1], 0.0) ** exponent
        x, y = _halved(x), _halved(y)
    return float(product * max(_similarity(x, y)[0], 0.0) ** EXPONENTS[-1])


def ms_ssim_db(reference: Signal, decoded: Signal) -> float:
    """-10 log10(1 - MS-SSIM) in dB: differences near 1 told apart."""
    missing = 1 - ms_ssim(reference, decoded)
    if missing <= 0:
        raise NotMeasurable("identical")
    return -10 * float(np.log10(missing))


def _similarity(x: Samples, y: Samples) -> tuple[float, float]:
    """Mean of SSIM over channels and places, and of its part without the local means where the whole window fits.

    At the borders, pictures are continued by reflection.
    """
    height, width, channels = x.shape
    x, y = _continued(x), _continued(y)
    whole = without_means = 0.0
    for top in range(0, height, STRIP):
        rows = slice(top, top + STRIP + 2 * MARGIN)
        inner = slice(max(MARGIN - top, 0), max(height - MARGIN - top, 0)), slice(MARGIN, -MARGIN)
        for a, b in zip(x[rows].transpose(2, 0, 1), y[rows].transpose(2, 0, 1), strict=True):
            a, b = a.astype(np.float64), b.astype(np.float64)
            mean_a, mean_b = _blurred(a), _blurred(b)
            product, squares = mean_a * mean_b, mean_a**2 + mean_b**2
            covariance, variances = _blurred(a * b) - product, _blurred(a**2 + b**2) - squares
            contrast = (2 * covariance + CONTRASTS) / (variances + CONTRASTS)
            whole += float((contrast * (2 * product + MEANS) / (squares + MEANS)).sum())
            without_means += float(contrast[inner].sum())
    fitting = (height - 2 * MARGIN) * (width - 2 * MARGIN) * channels
    return whole / (height * width * channels), without_means / fitting


def _continued(x: Samples) -> Samples:
    continued: Samples = np.pad(x, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="reflect")  # type: ignore
    return continued


def _blurred(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(H, W) to (H - 10, W - 10): the weighted means of the windows that fit."""
    for _ in range(2):  # down the columns, then, turned over, along the rows
        rows = len(x) - 2 * MARGIN
        total = TAPS[MARGIN] * x[MARGIN : MARGIN + rows]
        for i in range(MARGIN):
            total += TAPS[i] * (x[i : i + rows] + x[2 * MARGIN - i : 2 * MARGIN - i + rows])
        x = total.T
    return x


def _halved(x: Samples) -> NDArray[np.float64]:
    """(H, W, 3) to (H / 2, W / 2, 3), means of 2 × 2; an odd row or column at the end is dropped."""
    x = x[: len(x) // 2 * 2, : x.shape[1] // 2 * 2]
    total = np.zeros((len(x) // 2, x.shape[1] // 2, x.shape[2]))
    for part in (x[::2, ::2], x[::2, 1::2], x[1::2, ::2], x[1::2, 1::2]):
        total += part
    return total / 4


SSIM = Metric(
    "ssim",
    "image",
    "",
    "higher",
    "Structural similarity (Wang et al., 2004), up to 1: Gaussian window of 11 pixels, sigma 1.5, K 0.01 and 0.03, "
    "mean over red, green and blue, 8 bits, borders reflected, as torchmetrics computes it.",
    ssim,
)
MS_SSIM = Metric(
    "ms-ssim",
    "image",
    "",
    "higher",
    "Structural similarity at five scales (Wang, Simoncelli and Bovik, 2003), 0 to 1: settings of ssim, each scale's "
    "mean over red, green and blue, as torchmetrics computes it. Sides of 176 pixels at least.",
    ms_ssim,
)
MS_SSIM_DB = Metric(
    "ms-ssim-db",
    "image",
    "dB",
    "higher",
    "-10 log10(1 - ms-ssim). Not of identical pictures.",
    ms_ssim_db,
)
