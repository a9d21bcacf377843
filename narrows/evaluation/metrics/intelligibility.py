"""STOI and its extended form: how intelligible speech is."""

import warnings
from functools import partial

from narrows.evaluation.base import Metric, NotMeasurable, Signal
from narrows.evaluation.metrics import needs
from narrows.evaluation.metrics.pairs import Channel, mean_of_channels

SHORTEST = 0.4  # seconds; intelligibility is judged over segments of 384 ms


def short_time(reference: Signal, decoded: Signal) -> float:
    """STOI (Taal et al., IEEE TASLP 19(7), 2011), up to 1."""
    return mean_of_channels(reference, decoded, _of_channel)


def extended_short_time(reference: Signal, decoded: Signal) -> float:
    """ESTOI (Jensen and Taal, IEEE/ACM TASLP 24(11), 2016), up to 1."""
    return mean_of_channels(reference, decoded, partial(_of_channel, extended=True))


def _of_channel(x: Channel, y: Channel, rate: int, extended: bool = False) -> float:
    from pystoi import stoi

    if len(x) < SHORTEST * rate:
        raise NotMeasurable("too short")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # which stands beside a made-up number
        try:
            return float(stoi(x, y, rate, extended=extended))
        except RuntimeWarning as warning:
            raise NotMeasurable("too little of it is speech") from warning


STOI = Metric(
    "stoi",
    "audio",
    "",
    "higher",
    "Short-time objective intelligibility of speech (Taal et al., 2011), up to 1, at 10 kHz as pystoi resamples.",
    short_time,
    partial(needs.package, "pystoi", "stoi", "speech"),
    ("pystoi",),
)
ESTOI = Metric(
    "estoi",
    "audio",
    "",
    "higher",
    "Extended short-time objective intelligibility of speech (Jensen and Taal, 2016), up to 1, at 10 kHz as pystoi "
    "resamples.",
    extended_short_time,
    partial(needs.package, "pystoi", "estoi", "speech"),
    ("pystoi",),
)
