"""STOI and ESTOI, metrics of speech intelligibility."""

import warnings
from functools import partial

from narrows.evaluation.base import Metric, NotMeasurable
from narrows.evaluation.metrics.pairs import Channel, mean_of_channels
from narrows.extras import require_package
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
        warnings.simplefilter("error", RuntimeWarning)  # for too little speech, pystoi warns and returns a placeholder
        try:
            return float(pystoi.stoi(x, y, rate, extended=extended))
        except RuntimeWarning as warning:
            raise NotMeasurable("too little speech") from warning


STOI = Metric(
    name="stoi",
    medium="audio",
    unit="",
    better="higher",
    description=(
        "Short-time objective intelligibility of speech (Taal et al., 2011), at most 1, at 10 kHz (resampled by "
        "pystoi)."
    ),
    measure=stoi,
    check=partial(require_package, "pystoi"),
    packages=("pystoi",),
)
ESTOI = Metric(
    name="estoi",
    medium="audio",
    unit="",
    better="higher",
    description=(
        "Extended short-time objective intelligibility of speech (Jensen and Taal, 2016), at most 1, at 10 kHz "
        "(resampled by pystoi)."
    ),
    measure=estoi,
    check=partial(require_package, "pystoi"),
    packages=("pystoi",),
)
