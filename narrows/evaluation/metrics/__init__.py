"""The metrics by name; each `description` has the definition and its parameters.

A metric that is undefined for an item raises NotMeasurable with the reason; the item is then left out of its mean.
Metrics of others join by `register`, in a module that `codec evaluate --import` names, or as entry points (plugins.py).

metric, metrics              one by name, all; register: adds one; metric_of: one by name, for a medium
pesq_wb, stoi, visqol        speech and audio, perceptual
dnsmos, distillmos           speech, networks that judge without a reference; segments: what they judge at once
speaker_similarity           speech, the voice
spectral, snr                audio, magnitudes and samples
psnr, ssim, lpips, rfid      images; frames: their means over the frames of a clip
video                        clips
codebook_usage               of codes
pairs, requirements          the two signals of a metric, pretrained weights
"""

import difflib

from narrows import plugins
from narrows.errors import InputError
from narrows.evaluation.base import Metric, SetMetric
from narrows.evaluation.metrics.distillmos import DISTILLMOS
from narrows.evaluation.metrics.dnsmos import DNSMOS
from narrows.evaluation.metrics.frames import over_frames
from narrows.evaluation.metrics.lpips import LPIPS_ALEX
from narrows.evaluation.metrics.pesq_wb import PESQ_WB
from narrows.evaluation.metrics.psnr import PSNR
from narrows.evaluation.metrics.rfid import RFID
from narrows.evaluation.metrics.snr import SI_SDR, SNR
from narrows.evaluation.metrics.speaker_similarity import SPEAKER_SIMILARITY
from narrows.evaluation.metrics.spectral import MEL_DISTANCE, MEL_LEVEL_DIFFERENCE, STFT_DISTANCE
from narrows.evaluation.metrics.ssim import MS_SSIM, MS_SSIM_DB, SSIM
from narrows.evaluation.metrics.stoi import ESTOI, STOI
from narrows.evaluation.metrics.video import FLICKER, LUMA_PSNR, WORST_FRAME_PSNR
from narrows.evaluation.metrics.visqol import VISQOL_AUDIO, VISQOL_SPEECH

__all__ = ["metric", "metric_of", "metrics", "register"]

_METRICS: dict[str, Metric | SetMetric] = {
    listed.name: listed
    for listed in (
        PESQ_WB,
        STOI,
        ESTOI,
        VISQOL_AUDIO,
        VISQOL_SPEECH,
        DNSMOS,
        DISTILLMOS,
        SPEAKER_SIMILARITY,
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
        LUMA_PSNR,
        WORST_FRAME_PSNR,
        FLICKER,
    )
}


def register(added: Metric | SetMetric) -> None:
    """Add a metric under its name. Raises InputError for a name that is taken."""
    if _METRICS.setdefault(added.name, added) is not added:
        raise InputError(f"expected an unused name of a metric, got {added.name!r}; choose another name")


def metrics() -> dict[str, Metric | SetMetric]:
    """All metrics by name: of this library, registered ones, and those of installed packages."""
    plugins.import_listed()
    for name, found in plugins.load_all("narrows.metrics").items():
        _add(name, found)
    return dict(_METRICS)


def metric(name: str) -> Metric | SetMetric:
    """The metric with this name. Raises InputError for an unknown one, with the nearest known name."""
    if name not in _METRICS:
        plugins.import_listed()
    if name not in _METRICS and name in plugins.announced("narrows.metrics"):
        _add(name, plugins.load("narrows.metrics", name))
    if name in _METRICS:
        return _METRICS[name]
    near = difflib.get_close_matches(name, _METRICS, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_METRICS)}"
    raise InputError(f"no metric {name!r}; {hint}")


def metric_of(name: str, medium: str) -> Metric | SetMetric:
    """The metric with this name for signals of a medium. A metric of images is also one of video, by its frames.

    Raises InputError for an unknown name, and for a metric of another medium.
    """
    found = metric(name)
    if found.medium == medium:
        return found
    if (found.medium, medium) == ("image", "video"):
        return (isinstance(found, Metric) and found.video) or over_frames(found)
    raise InputError(f"expected metrics of {medium}, got {name} of {found.medium}; leave it out")


def _add(name: str, found: object) -> None:
    """Add the metric of an installed package."""
    if not isinstance(found, Metric | SetMetric) or found.name != name:
        raise InputError(f"expected a metric named {name!r} from an installed package, got {found!r:.80}")
    _METRICS[name] = found
