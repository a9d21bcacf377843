"""What evaluation does differently for each medium, in one table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from narrows.evaluation.alignment import align, check_size
from narrows.evaluation.bands import BandDistortion, audio_distortion_by_band, image_distortion_by_band
from narrows.evaluation.embedding import AUDIO_ENCODINGS, IMAGE_ENCODINGS, MediaEncoder
from narrows.media.image import Image
from narrows.media.medium import Medium, Signal
from narrows.media.table import MEDIA


@dataclass(frozen=True)
class Evaluation:
    """How signals of a medium are evaluated.

    Args:
        medium: its entry of the table of media.
        read: a file to the reference signal.
        match: (decoded, reference) to the decoded signal of the rate and size of the reference, without delay. Raises
            InputError where it cannot be brought to them.
        bands: distortion by frequency of (reference, decoded). Raises NotMeasurable where it is undefined.
        metrics: names of the default metrics.
        encodings: how the report embeds signals, from the best to the smallest, each with its description.
        heading: of the section of the report with the embedded signals.
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
        read=lambda path: cast(Image, MEDIA["image"].read(path)).as_rgb(),
        match=check_size,
        bands=image_distortion_by_band,
        metrics=("psnr", "ms-ssim", "ms-ssim-db"),
        encodings=IMAGE_ENCODINGS,
        heading="Look",
    ),
}
