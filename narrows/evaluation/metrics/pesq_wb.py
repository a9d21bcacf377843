"""PESQ: perceptual quality of speech."""

from functools import partial

import numpy as np

from narrows.evaluation.base import Metric, NotMeasurable
from narrows.evaluation.metrics.pairs import Channel, mean_of_channels
from narrows.extras import require_package
from narrows.media.medium import Signal

RATE = 16_000  # Hz, of the wideband mode
MAX_LENGTH = 20 * RATE  # samples; the reference code crashes beyond 50 utterances, which longer audio may have


def pesq_wb(reference: Signal, decoded: Signal) -> float:
    """PESQ wideband (ITU-T P.862.2), MOS-LQO from 1.04 to 4.64."""
    return mean_of_channels(reference, decoded, _channel_pesq, RATE)


def _channel_pesq(x: Channel, y: Channel, rate: int) -> float:
    from pesq import PesqError, pesq

    pieces = -(-len(x) // MAX_LENGTH)
    pairs = zip(np.array_split(x, pieces), np.array_split(y, pieces), strict=True)
    try:
        return float(np.mean([pesq(rate, a, b, "wb") for a, b in pairs]))
    except (PesqError, ValueError) as error:  # ValueError: the result is NaN, as for silence
        reason = error.args[0]
        raise NotMeasurable(f"PESQ: {reason.decode() if isinstance(reason, bytes) else reason}") from error


PESQ_WB = Metric(
    name="pesq-wb",
    medium="audio",
    unit="MOS-LQO",
    better="higher",
    description=(
        "PESQ wideband (ITU-T P.862.2): perceptual quality of speech, 1.04 to 4.64, at 16 kHz (other rates are "
        "resampled). Audio longer than 20 seconds: mean over equal segments of at most 20 seconds. Package pesq."
    ),
    measure=pesq_wb,
    check=partial(require_package, "pesq"),
    packages=("pesq", "soxr"),
)
