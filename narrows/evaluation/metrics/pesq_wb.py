"""PESQ: perceived quality of speech."""

from functools import partial

import numpy as np

from narrows.evaluation.base import Metric, NotMeasurable, Signal
from narrows.evaluation.metrics import needs
from narrows.evaluation.metrics.pairs import Channel, mean_of_channels

RATE = 16_000  # Hz, of the wideband mode
LONGEST = 20 * RATE  # the reference code has room for 50 utterances, which more time could exceed; it would crash then


def pesq_wb(reference: Signal, decoded: Signal) -> float:
    """PESQ wideband (ITU-T P.862.2), MOS-LQO from 1.04 to 4.64."""
    return mean_of_channels(reference, decoded, _of_channel, RATE)


def _of_channel(x: Channel, y: Channel, rate: int) -> float:
    from pesq import PesqError, pesq

    pieces = -(-len(x) // LONGEST)
    pairs = zip(np.array_split(x, pieces), np.array_split(y, pieces), strict=True)
    try:
        return float(np.mean([pesq(rate, a, b, "wb") for a, b in pairs]))
    except (PesqError, ValueError) as error:  # the latter where its result is NaN, as for silence
        reason = error.args[0]
        raise NotMeasurable(f"PESQ: {reason.decode() if isinstance(reason, bytes) else reason}") from error


PESQ_WB = Metric(
    "pesq-wb",
    "audio",
    "MOS-LQO",
    "higher",
    "PESQ wideband (ITU-T P.862.2): perceived quality of speech, 1.04 to 4.64, at 16 kHz (other rates resampled). "
    "What is longer than 20 seconds is cut into equal pieces, whose mean counts. Package pesq.",
    pesq_wb,
    partial(needs.package, "pesq", "pesq-wb", "speech"),
    ("pesq", "soxr"),
)
