"""The metrics by name. What each is, with its settings, is told in its `about`.

A metric without a number for an item says why (NotMeasurable); nothing is made up, nothing averaged in.
"""

import difflib

from narrows.errors import InputError
from narrows.evaluation.base import Metric, SetMetric
from narrows.evaluation.metrics.frechet import RFID
from narrows.evaluation.metrics.intelligibility import ESTOI, STOI
from narrows.evaluation.metrics.lpips import LPIPS_ALEX
from narrows.evaluation.metrics.pesq_wb import PESQ_WB
from narrows.evaluation.metrics.psnr import PSNR
from narrows.evaluation.metrics.ratios import SI_SDR, SNR
from narrows.evaluation.metrics.spectral import MEL_DISTANCE, MEL_LEVELS, STFT_DISTANCE
from narrows.evaluation.metrics.structure import MS_SSIM, MS_SSIM_DB, SSIM
from narrows.evaluation.metrics.visqol import VISQOL_AUDIO

__all__ = ["DEFAULTS", "METRICS", "metric", "metrics_of"]

METRICS: dict[str, Metric | SetMetric] = {
    one.name: one
    for one in (
        PESQ_WB,
        STOI,
        ESTOI,
        VISQOL_AUDIO,
        MEL_DISTANCE,
        STFT_DISTANCE,
        MEL_LEVELS,
        SI_SDR,
        SNR,
        PSNR,
        SSIM,
        MS_SSIM,
        MS_SSIM_DB,
        LPIPS_ALEX,
        RFID,
    )
}

DEFAULTS: dict[str, tuple[str, ...]] = {  # by medium
    "audio": ("pesq-wb", "estoi", "mel-distance", "stft-distance", "si-sdr"),
    "image": ("psnr", "ms-ssim", "ms-ssim-db"),
}


def metric(name: str) -> Metric | SetMetric:
    """The metric of that name. Raises InputError for an unknown one, with the nearest name."""
    if name in METRICS:
        return METRICS[name]
    near = difflib.get_close_matches(name, METRICS, 1)
    hint = f"did you mean {near[0]!r}" if near else f"there are {', '.join(METRICS)}"
    raise InputError(f"no metric {name!r}; {hint}")


def metrics_of(medium: str) -> tuple[Metric | SetMetric, ...]:
    """All metrics of a medium."""
    return tuple(one for one in METRICS.values() if one.medium == medium)
