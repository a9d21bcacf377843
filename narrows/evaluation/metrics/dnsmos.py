"""DNSMOS: quality of speech as listeners would rate it, without a reference."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from narrows.evaluation.base import Metric
from narrows.evaluation.metrics.pairs import Channel
from narrows.evaluation.metrics.requirements import package_file
from narrows.evaluation.metrics.segments import RATE, mean_over_segments
from narrows.extras import require_package
from narrows.media.medium import Signal

SEGMENT, HOP = 144_160, RATE  # samples: 9.01 seconds, the network's input, every second
OVERALL = (-0.06766283, 1.11546468, 0.04602535)  # polynomial from the network's output to MOS, as in speechmos


def dnsmos(reference: Signal, decoded: Signal) -> float:
    """DNSMOS P.835, overall quality (Reddy et al., arXiv 2110.01763), MOS from 1 to about 4.2."""
    return mean_over_segments(reference, decoded, segments, _overall)


def segments(x: Channel) -> Iterator[Channel]:
    """Segments of 9.01 seconds every second, as in speechmos; shorter audio is repeated."""
    x = x.clip(-1, 1)
    while len(x) < SEGMENT:
        x = np.tile(x, 2)
    count = int(len(x) // RATE - SEGMENT / RATE) + 1
    return (x[start : start + SEGMENT] for start in range(0, max(count, 1) * HOP, HOP))


def check() -> None:
    """Raises InputError if a package is missing."""
    require_package("onnxruntime")
    _weights()


def _overall(segment: Channel) -> float:
    session = _session()
    (scores,) = session.run(None, {session.get_inputs()[0].name: segment[None]})  # speech, noise, overall
    return float(np.polyval(OVERALL, scores[0, 2]))


@cache
def _session() -> Any:
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return InferenceSession(str(_weights()), options, providers=["CPUExecutionProvider"])


def _weights() -> Path:
    return package_file("speechmos", "dnsmos_models/sig_bak_ovr.onnx")


DNSMOS = Metric(
    name="dnsmos",
    medium="audio",
    unit="MOS",
    better="higher",
    description=(
        "DNSMOS P.835, overall quality of speech (Reddy et al., arXiv 2110.01763), 1 to about 4.2, of the decoded "
        "signal alone, at 16 kHz (other rates are resampled) and at its own level: mean over segments of 9.01 seconds, "
        "one each second; shorter audio is repeated. Weights of the package speechmos."
    ),
    measure=dnsmos,
    check=check,
    packages=("speechmos", "onnxruntime", "soxr"),
)
