"""The metrics by name; each `description` has the definition and its parameters.

A metric that is undefined for an item raises NotMeasurable with the reason; the item is then left out of its mean.
"""

import difflib

from narrows.errors import InputError
from narrows.evaluation.base import Metric, SetMetric
from narrows.evaluation.metrics.lpips import LPIPS_ALEX
from narrows.evaluation.metrics.pesq_wb import PESQ_WB
from narrows.evaluation.metrics.psnr import PSNR
from narrows.evaluation.metrics.rfid import RFID
from narrows.evaluation.metrics.snr import SI_SDR, SNR
from narrows.evaluation.metrics.spectral import MEL_DISTANCE, MEL_LEVEL_DIFFERENCE, STFT_DISTANCE
from narrows.evaluation.metrics.ssim import MS_SSIM, MS_SSIM_DB, SSIM
from narrows.evaluation.metrics.stoi import ESTOI, STOI
from narrows.evaluation.metrics.visqol import VISQOL_AUDIO

__all__ = ["METRICS", "metric"]

METRICS: dict[str, Metric | SetMetric] = {
    listed.name: listed
    for listed in (
        PESQ_WB,
        STOI,
        ESTOI,
        VISQOL_AUDIO,
        MEL_DISTANCE,
        STFT_DISTANCE,
        MEL_LEVEL_DIFFERENCE,
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


def metric(name: str) -> Metric | SetMetric:
    """The metric with this name. Raises InputError for an unknown one, with the nearest known name."""
    if name in METRICS:
        return METRICS[name]
    near = difflib.get_close_matches(name, METRICS, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(METRICS)}"
    raise InputError(f"no metric {name!r}; {hint}")
