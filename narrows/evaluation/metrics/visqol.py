"""ViSQOL: perceptual quality of audio and of speech."""

from functools import cache, partial
from typing import Any

import numpy as np

from narrows.evaluation.base import Metric, NotMeasurable
from narrows.evaluation.metrics.pairs import Channel, mean_of_channels
from narrows.extras import require_package
from narrows.media.medium import Signal

AUDIO_RATE, SPEECH_RATE = 48_000, 16_000  # Hz
MIN_SECONDS = 1.0  # ViSQOL compares patches of 0.4 (speech) or 0.6 seconds
MAX_SECONDS = 30  # ViSQOL takes 10 MiB per second at 48 kHz; longer audio is split


def visqol_audio(reference: Signal, decoded: Signal) -> float:
    """ViSQOL v3 in audio mode (Chinen et al., arXiv 2004.09584), MOS-LQO from 1 to about 4.73."""
    return mean_of_channels(reference, decoded, partial(_channel_visqol, "audio"), AUDIO_RATE)


def visqol_speech(reference: Signal, decoded: Signal) -> float:
    """ViSQOL v3 in speech mode with its lattice network (Chinen et al., arXiv 2004.09584), MOS-LQO from 1 to 5."""
    return mean_of_channels(reference, decoded, partial(_channel_visqol, "speech"), SPEECH_RATE)


def check_speech() -> None:
    """Raises InputError if a package is missing. Without LiteRT, the package would map to another scale in silence."""
    require_package("visqol")
    require_package("ai_edge_litert")


def _channel_visqol(mode: str, x: Channel, y: Channel, rate: int) -> float:
    if len(x) < MIN_SECONDS * rate:
        raise NotMeasurable("too short")
    pieces = -(-len(x) // (MAX_SECONDS * rate))
    pairs = zip(np.array_split(x, pieces), np.array_split(y, pieces), strict=True)
    judge = _visqol_api(mode)
    try:  # undefined for a silent piece
        return float(np.mean([judge.measure_from_arrays(a, b, rate).moslqo for a, b in pairs if a.any()]))
    except ValueError as error:
        raise NotMeasurable(" ".join(str(error).split())) from error


@cache
def _visqol_api(mode: str) -> Any:
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode=mode, use_lattice_model=mode == "speech")
    return api


VISQOL_AUDIO = Metric(
    name="visqol-audio",
    medium="audio",
    unit="MOS-LQO",
    better="higher",
    description=(
        "ViSQOL v3 in audio mode (Chinen et al., arXiv 2004.09584): perceptual quality, 1 to about 4.73, at 48 kHz "
        "(other rates are resampled). Audio longer than 30 seconds: mean over equal segments of at most 30 seconds. "
        "Package visqol-python. Slow."
    ),
    measure=visqol_audio,
    check=partial(require_package, "visqol"),
    packages=("visqol-python", "soxr"),
)
VISQOL_SPEECH = Metric(
    name="visqol-speech",
    medium="audio",
    unit="MOS-LQO",
    better="higher",
    description=(
        "ViSQOL v3 in speech mode (Chinen et al., arXiv 2004.09584) with its lattice network, the default of ViSQOL "
        "3.3: perceptual quality of speech, 1 to 5, at 16 kHz (other rates are resampled). Audio longer than 30 "
        "seconds: mean over equal segments of at most 30 seconds. Packages visqol-python and ai-edge-litert."
    ),
    measure=visqol_speech,
    check=check_speech,
    packages=("visqol-python", "ai-edge-litert", "soxr"),
)
