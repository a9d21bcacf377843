"""Segments of one length, for networks that judge speech without a reference."""

from collections.abc import Callable, Iterator

import numpy as np

from narrows.evaluation.base import NotMeasurable
from narrows.evaluation.metrics.pairs import Channel, mean_of_channels
from narrows.media.medium import Signal

RATE = 16_000  # Hz
MIN_SECONDS = 1.0  # shorter clips would be judged by their padding


def mean_over_segments(
    reference: Signal,
    decoded: Signal,
    segments: Callable[[Channel], Iterator[Channel]],
    judge: Callable[[Channel], float],
) -> float:
    """Mean of a number over the segments of the decoded signal at 16 kHz, then over its channels.

    Only one segment at a time is judged, so that memory does not grow with the length. The reference decides whether
    there is anything to judge.

    Args:
        reference: Original audio.
        decoded: Of the same shape and sample rate.
        segments: Function from a channel (T,) at 16 kHz to its segments.
        judge: Function from a segment to a number.

    Raises:
        NotMeasurable: A channel of the reference is silent, or the audio is shorter than a second.
        InputError: See `audio_pair`.
    """

    def of_channel(_: Channel, y: Channel, rate: int) -> float:
        check_length(y, rate)
        return float(np.mean([judge(segment) for segment in segments(y)]))

    return mean_of_channels(reference, decoded, of_channel, RATE)


def check_length(x: Channel, rate: int) -> None:
    """Raises NotMeasurable for audio that is shorter than a second."""
    if len(x) < MIN_SECONDS * rate:
        raise NotMeasurable("too short")
