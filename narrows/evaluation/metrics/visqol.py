"""ViSQOL: perceptual quality of audio."""

from functools import cache, partial
from typing import Any

from narrows.evaluation.base import Metric, NotMeasurable
from narrows.evaluation.metrics.pairs import Channel, mean_of_channels
from narrows.extras import require_package
from narrows.media.medium import Signal

RATE = 48_000  # Hz, in audio mode
MIN_SECONDS = 1.0  # ViSQOL compares patches of 0.6 seconds


def visqol_audio(reference: Signal, decoded: Signal) -> float:
    """ViSQOL v3 in audio mode (Chinen et al., arXiv 2004.09584), MOS-LQO from 1 to about 4.73."""
    return mean_of_channels(reference, decoded, _channel_visqol, RATE)


def _channel_visqol(x: Channel, y: Channel, rate: int) -> float:
    if len(x) < MIN_SECONDS * rate:
        raise NotMeasurable("too short")
    try:
        return float(_visqol_api().measure_from_arrays(x, y, rate).moslqo)
    except ValueError as error:
        raise NotMeasurable(" ".join(str(error).split())) from error


@cache
def _visqol_api() -> Any:
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="audio")
    return api


VISQOL_AUDIO = Metric(
    name="visqol-audio",
    medium="audio",
    unit="MOS-LQO",
    better="higher",
    description=(
        "ViSQOL v3 in audio mode (Chinen et al., arXiv 2004.09584): perceptual quality, 1 to about 4.73, at 48 kHz "
        "(other rates are resampled). Package visqol-python. Slow."
    ),
    measure=visqol_audio,
    check=partial(require_package, "visqol"),
    packages=("visqol-python", "soxr"),
)
