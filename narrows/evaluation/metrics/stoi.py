"""STOI and ESTOI: intelligibility of speech."""

import warnings
from functools import partial

from narrows.evaluation.base import Metric, NotMeasurable
from narrows.evaluation.metrics.pairs import Channel, mean_of_channels
from narrows.evaluation.metrics.requirements import require_package
from narrows.media.medium import Signal

MIN_SECONDS = 0.4  # STOI compares segments of 384 ms


def stoi(reference: Signal, decoded: Signal) -> float:
    """STOI (Taal et al., IEEE TASLP 19(7), 2011), at most 1."""
    return mean_of_channels(reference, decoded, _channel_stoi)


def estoi(reference: Signal, decoded: Signal) -> float:
    """ESTOI (Jensen and Taal, IEEE/ACM TASLP 24(11), 2016), at most 1."""
    return mean_of_channels(reference, decoded, partial(_channel_stoi, extended=True))


def _channel_stoi(x: Channel, y: Channel, rate: int, extended: bool = False) -> float:
    import pystoi

    if len(x) < MIN_SECONDS * rate:
        raise NotMeasurable("too short")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # pystoi warns and returns a placeholder value
        try:
            return float(pystoi.stoi(x, y, rate, extended=extended))
        except RuntimeWarning as warning:
            raise NotMeasurable("too little speech") from warning


STOI = Metric(
    "stoi",
    "audio",
    "",
    "higher",
    "Short-time objective intelligibility of speech (Taal et al., 2011), at most 1, at 10 kHz (resampled by pystoi).",
    stoi,
    partial(require_package, "pystoi", "stoi", "speech"),
    ("pystoi",),
)
ESTOI = Metric(
    "estoi",
    "audio",
    "",
    "higher",
    "Extended short-time objective intelligibility of speech (Jensen and Taal, 2016), at most 1, at 10 kHz "
    "(resampled by pystoi).",
    estoi,
    partial(require_package, "pystoi", "estoi", "speech"),
    ("pystoi",),
)
