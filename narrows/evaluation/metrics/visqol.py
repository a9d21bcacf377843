"""ViSQOL: perceived quality of sound of any kind."""

from functools import cache, partial
from typing import Any

from narrows.evaluation.base import Metric, NotMeasurable, Signal
from narrows.evaluation.metrics import needs
from narrows.evaluation.metrics.pairs import Channel, mean_of_channels

RATE = 48_000  # Hz, of the audio mode
SHORTEST = 1.0  # seconds; it compares patches of 0.6 seconds


def visqol_audio(reference: Signal, decoded: Signal) -> float:
    """ViSQOL v3 in audio mode (Chinen et al., arXiv 2004.09584), MOS-LQO from 1 to about 4.73."""
    return mean_of_channels(reference, decoded, _of_channel, RATE)


def _of_channel(x: Channel, y: Channel, rate: int) -> float:
    if len(x) < SHORTEST * rate:
        raise NotMeasurable("too short")
    try:
        return float(_judge().measure_from_arrays(x, y, rate).moslqo)
    except ValueError as error:
        raise NotMeasurable(" ".join(str(error).split())) from error


@cache
def _judge() -> Any:
    from visqol import VisqolApi

    judge = VisqolApi()
    judge.create(mode="audio")
    return judge


VISQOL_AUDIO = Metric(
    "visqol-audio",
    "audio",
    "MOS-LQO",
    "higher",
    "ViSQOL v3 in audio mode (Chinen et al., arXiv 2004.09584): perceived quality, 1 to about 4.73, at 48 kHz (other "
    "rates resampled). Package visqol-python. Slow.",
    visqol_audio,
    partial(needs.package, "visqol", "visqol-audio", "visqol"),
    ("visqol-python", "soxr"),
)
