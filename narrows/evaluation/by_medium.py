"""A table of the parts of the evaluation that depend on the medium."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from narrows.evaluation.alignment import align, check_size
from narrows.evaluation.bands import (
    BandDistortion,
    audio_distortion_by_band,
    image_distortion_by_band,
    video_distortion_by_band,
)
from narrows.evaluation.excerpts import clip_excerpt, pack_clip, unpack_clip
from narrows.evaluation.references import read_audio, read_clip, read_image
from narrows.media.medium import Medium, Signal
from narrows.media.table import MEDIA
from narrows.report.embedding import AUDIO_ENCODINGS, BUDGET, IMAGE_ENCODINGS, MediaEncoder
from narrows.report.video_encoding import VIDEO_BUDGET, VIDEO_ENCODINGS


@dataclass(frozen=True)
class Evaluation:
    """How signals of a medium are evaluated.

    Args:
        medium: entry of the table of media.
        read: function of (path, seconds) that reads the reference signal from a file, or its first seconds.
        match: function of (decoded, reference) that returns the decoded signal at the rate and size of the reference,
            without delay. Raises InputError if that is not possible.
        bands: function of (reference, decoded) that returns the distortion by frequency. Raises NotMeasurable if it is
            undefined.
        metrics: names of the default metrics.
        encodings: encoders of the signals in the report with their descriptions, from the best to the smallest.
        heading: heading of the section of the report with the embedded signals.
        budget: bytes of all embedded signals.
        timed: whether signals have a duration.
        excerpt: function that returns the part of a signal that the report shows.
        pack: function that returns the array in which the cache keeps the decoded signal for the report.
        unpack: function of (array, excerpt of the reference) that returns the signal again.
        speed_seconds: length of the beginning of an item on which speed is measured; None for the whole.
        speed_rounds: number of times that speed is measured on each item.
    """

    medium: Medium
    read: Callable[[Path, float | None], Signal]
    match: Callable[[Signal, Signal], Signal]
    bands: Callable[[Signal, Signal], BandDistortion]
    metrics: tuple[str, ...]
    encodings: Sequence[tuple[str, MediaEncoder]]
    heading: str
    budget: int = BUDGET
    timed: bool = True
    excerpt: Callable[[Signal], Signal] = lambda signal: signal
    pack: Callable[[Signal], NDArray[np.generic]] = lambda signal: signal.array
    unpack: Callable[[NDArray[np.generic], Signal], Signal] = lambda array, reference: reference.with_array(array)
    speed_seconds: float | None = None
    speed_rounds: int = 3


EVALUATIONS: dict[str, Evaluation] = {
    "audio": Evaluation(
        medium=MEDIA["audio"],
        read=read_audio,
        match=lambda decoded, reference: align(decoded, reference)[0],
        bands=audio_distortion_by_band,
        metrics=("pesq-wb", "estoi", "mel-distance", "stft-distance", "si-sdr"),
        encodings=AUDIO_ENCODINGS,
        heading="Listen",
    ),
    "image": Evaluation(
        medium=MEDIA["image"],
        read=read_image,
        match=check_size,
        bands=image_distortion_by_band,
        metrics=("psnr", "ms-ssim", "ms-ssim-db"),
        encodings=IMAGE_ENCODINGS,
        heading="Look",
        timed=False,
    ),
    "video": Evaluation(
        medium=MEDIA["video"],
        read=read_clip,
        match=check_size,
        bands=video_distortion_by_band,
        metrics=("psnr", "ssim", "ms-ssim", "flicker", "worst-frame-psnr"),
        encodings=VIDEO_ENCODINGS,
        heading="Watch",
        budget=VIDEO_BUDGET,
        excerpt=clip_excerpt,
        pack=pack_clip,
        unpack=unpack_clip,
        speed_seconds=2.0,
        speed_rounds=1,
    ),
}
