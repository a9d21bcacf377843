"""A table of the parts of the evaluation that depend on the medium."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from narrows.evaluation.alignment import align, check_size
from narrows.evaluation.bands import BandDistortion, audio_distortion_by_band, image_distortion_by_band
from narrows.media.image import read_opaque
from narrows.media.medium import Medium, Signal
from narrows.media.table import MEDIA
from narrows.report.embedding import AUDIO_ENCODINGS, IMAGE_ENCODINGS, MediaEncoder


@dataclass(frozen=True)
class Evaluation:
    """How signals of a medium are evaluated.

    Args:
        medium: entry of the table of media.
        read: function that reads the reference signal from a file.
        match: function of (decoded, reference) that returns the decoded signal at the rate and size of the reference,
            without delay. Raises InputError if that is not possible.
        bands: function of (reference, decoded) that returns the distortion by frequency. Raises NotMeasurable if it is
            undefined.
        metrics: names of the default metrics.
        encodings: encoders of the signals in the report with their descriptions, from the best to the smallest.
        heading: heading of the section of the report with the embedded signals.
    """

    medium: Medium
    read: Callable[[Path], Signal]
    match: Callable[[Signal, Signal], Signal]
    bands: Callable[[Signal, Signal], BandDistortion]
    metrics: tuple[str, ...]
    encodings: Sequence[tuple[str, MediaEncoder]]
    heading: str


EVALUATIONS: dict[str, Evaluation] = {
    "audio": Evaluation(
        medium=MEDIA["audio"],
        read=MEDIA["audio"].read,
        match=lambda decoded, reference: align(decoded, reference)[0],
        bands=audio_distortion_by_band,
        metrics=("pesq-wb", "estoi", "mel-distance", "stft-distance", "si-sdr"),
        encodings=AUDIO_ENCODINGS,
        heading="Listen",
    ),
    "image": Evaluation(
        medium=MEDIA["image"],
        read=lambda path: read_opaque(path).as_rgb(),
        match=check_size,
        bands=image_distortion_by_band,
        metrics=("psnr", "ms-ssim", "ms-ssim-db"),
        encodings=IMAGE_ENCODINGS,
        heading="Look",
    ),
}
