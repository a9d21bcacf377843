"""rFID: Fréchet distance between the feature distributions of decoded images and references."""

import io
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrows.evaluation.base import NotMeasurable, SetMetric
from narrows.evaluation.metrics.pairs import image_pair
from narrows.evaluation.metrics.requirements import download_weights
from narrows.extras import require_package
from narrows.media.medium import Signal

WEIGHTS_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
WEIGHTS_SHA256 = "6726825d"  # first digits
TILE = 256  # pixels

Features = NDArray[np.float64]  # (N, D)


def features(signal: Signal) -> Features:
    """Inception v3 features (N, 2048) of an image, cut into N centred non-overlapping tiles of 256 × 256 pixels.

    If a side of the image has fewer than 256 pixels, the tiles have that side.
    """
    import torch

    pixels, _ = image_pair(signal, signal)
    sides = [min(TILE, side) for side in pixels.shape[1:]]
    starts = [
        range(length % side // 2, length - side + 1, side) for length, side in zip(pixels.shape[1:], sides, strict=True)
    ]
    tiles = [pixels[:, top : top + sides[0], left : left + sides[1]] for top in starts[0] for left in starts[1]]
    batches = [np.ascontiguousarray(tile)[None] for tile in tiles]
    with torch.inference_mode():
        return np.concatenate([_network()(torch.from_numpy(batch))[0].numpy() for batch in batches]).astype(np.float64)


def distance(reference: Features, decoded: Features) -> float:
    """Fréchet distance between Gaussian fits of two feature sets (Heusel et al., arXiv 1706.08500).

    |m - n|² + tr(A + B - 2 (A B)^½) of the means m, n and the covariances A = RᵀR, B = SᵀS, where tr (A B)^½ is the sum
    of the singular values of R Sᵀ.

    Args:
        reference: Features of the references (N, D), N at least 2.
        decoded: Features of the decoded images (N, D).

    Returns:
        The distance, at least 0.

    Raises:
        NotMeasurable: Fewer than two features, or features that are not finite.
    """
    if min(len(reference), len(decoded)) < 2:
        raise NotMeasurable("fewer than two tiles")
    if not np.isfinite(reference).all() or not np.isfinite(decoded).all():
        raise NotMeasurable("features are not finite")
    means, roots = zip(*(_moments(x) for x in (reference, decoded)), strict=True)
    overlap = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    spread = np.square(roots[0]).sum() + np.square(roots[1]).sum()
    return max(float(np.square(means[0] - means[1]).sum() + spread - 2 * overlap), 0.0)


def check() -> None:
    """Raises InputError if the package or the weights of Inception are missing."""
    require_package("torch_fidelity")
    download_weights(WEIGHTS_URL, WEIGHTS_SHA256, "rfid")


def _moments(x: Features) -> tuple[Features, Features]:
    """The mean (D,) of features (N, D), and R (min(N, D), D) whose RᵀR is their covariance."""
    mean = x.mean(0)
    root: Features = np.linalg.qr((x - mean) / np.sqrt(len(x) - 1), mode="r")  # type: ignore[assignment]
    return mean, root


@cache
def _network() -> Any:
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    file = io.BytesIO()  # torch-fidelity unpickles this file, so give it a copy with tensors only
    torch.save(
        torch.load(download_weights(WEIGHTS_URL, WEIGHTS_SHA256, "rfid"), map_location="cpu", weights_only=True), file
    )
    file.seek(0)
    return FeatureExtractorInceptionV3("inception", ["2048"], file)


RFID = SetMetric(
    name="rfid",
    medium="image",
    unit="",
    better="lower",
    description=(
        "Reconstruction FID: Fréchet distance between Inception v3 features (Heusel et al., arXiv 1706.08500; network "
        "of 2015-12-05 in torch-fidelity) of references and decoded images, over all centred non-overlapping tiles of "
        "256 × 256 pixels. It decreases with the number of tiles: compare over the same images only."
    ),
    features=features,
    distance=distance,
    check=check,
    packages=("torch-fidelity",),
)
