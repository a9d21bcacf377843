"""DistillMOS: quality of speech as listeners would rate it, without a reference."""

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np

from narrows.evaluation.base import Metric
from narrows.evaluation.metrics.pairs import Channel
from narrows.evaluation.metrics.segments import RATE, mean_over_segments
from narrows.extras import require_package
from narrows.media.medium import Signal

SEGMENT, MAX_HOP = 122_880, RATE  # samples: 7.68 seconds, the network's input, at least every second


def distillmos(reference: Signal, decoded: Signal) -> float:
    """DistillMOS (Stahl and Gamper, arXiv 2502.05356), MOS from 1 to 5."""
    return mean_over_segments(reference, decoded, segments, _mos)


def segments(x: Channel) -> Iterator[Channel]:
    """Equally spaced segments of 7.68 seconds that cover the audio, as in the package; shorter audio is zero-padded."""
    x = np.pad(x, (0, max(SEGMENT - len(x), 0)))
    rest = len(x) - SEGMENT
    return (x[int(part * rest) :][:SEGMENT] for part in np.linspace(0, 1, -(-rest // MAX_HOP) + 1))


def _mos(segment: Channel) -> float:
    import torch

    with torch.inference_mode():
        return float(_network()(torch.from_numpy(np.ascontiguousarray(segment))[None]))


@cache
def _network() -> Any:
    import torch
    from distillmos import sqa

    network = sqa.ConvTransformerSQAModel(load_weights=False, segmenting_in_forward=False).eval()
    network.load_state_dict(torch.load(sqa.DEFAULT_WEIGHTS_CHKPT, map_location="cpu", weights_only=True)["model"])
    return network


DISTILLMOS = Metric(
    name="distillmos",
    medium="audio",
    unit="MOS",
    better="higher",
    description=(
        "DistillMOS (Stahl and Gamper, arXiv 2502.05356): quality of speech, 1 to 5, of the decoded signal alone, at "
        "16 kHz (other rates are resampled): mean over segments of 7.68 seconds, each scaled to its peak, at least one "
        "a second; shorter audio is zero-padded. Package distillmos with its weights."
    ),
    measure=distillmos,
    check=partial(require_package, "distillmos"),
    packages=("distillmos", "xls-r-sqa", "torch", "soxr"),
)
