"""Metrics of images, applied to clips: the mean over frames."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from narrows.evaluation.base import Metric, NotMeasurable, SetMetric
from narrows.evaluation.metrics.pairs import video_pair
from narrows.media.image import Image
from narrows.media.medium import Signal

FRAMES = 32  # of longer clips; bounds the time
GOLDEN = (5**0.5 - 1) / 2

Pixels = NDArray[np.uint8]  # (3, T, H, W)


def over_frames(metric: Metric | SetMetric) -> Metric | SetMetric:
    """The metric of video that is the mean of a metric of images over the frames of `spread`.

    Frames for which it is undefined are left out; it is undefined for a clip without any other. A metric of sets takes
    these frames of all clips as its set.
    """
    about = f"Over {FRAMES} frames spread over each clip, or all of a shorter one: {metric.description}"
    if isinstance(metric, SetMetric):
        of_image = metric.features

        def features(clip: Signal) -> NDArray[np.float64]:
            pixels = video_pair(clip, clip)[0]
            return np.concatenate([of_image(frame) for frame in _images(pixels, spread(pixels.shape[1]))])

        return replace(metric, medium="video", description=about, features=features)
    of_images = metric.measure

    def measure(reference: Signal, decoded: Signal) -> float:
        x, y = video_pair(reference, decoded)
        places = spread(x.shape[1])
        values, reason = list[float](), NotMeasurable("no frames")
        for original, coded in zip(_images(x, places), _images(y, places), strict=True):
            try:
                values.append(of_images(original, coded))
            except NotMeasurable as undefined:
                reason = undefined
        if not values:
            raise reason
        return float(np.mean(values))

    return replace(metric, medium="video", description=f"Mean over frames. {about}", measure=measure, video=None)


def spread(frames: int, most: int = FRAMES) -> list[int]:
    """Indices of up to `most` of the frames, one in each of as many equal parts of the clip.

    The place within a part follows the golden ratio, so that frames which a codec treats alike, such as each fourth,
    are met as often as others.
    """
    if frames <= most:
        return list(range(frames))
    starts = [part * frames // most for part in range(most + 1)]
    return [a + int(part * GOLDEN % 1 * (b - a)) for part, (a, b) in enumerate(pairwise(starts))]


def _images(pixels: Pixels, places: Sequence[int]) -> Iterator[Image]:
    return (Image(np.ascontiguousarray(pixels[:, place])) for place in places)
