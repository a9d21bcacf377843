"""LPIPS: distance between features of an image classification network."""

import warnings
from functools import cache
from typing import Any

import numpy as np

from narrows.evaluation.base import Metric
from narrows.evaluation.metrics.pairs import Pixels, image_pair
from narrows.evaluation.metrics.requirements import download_weights
from narrows.extras import require_package
from narrows.media.medium import Signal

# torchvision's AlexNet, trained on ImageNet
BACKBONE_URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
BACKBONE_SHA256 = "7be5be79"  # first digits
MIN_SIDE = 31  # pixels; the last layer then has one position


def lpips(reference: Signal, decoded: Signal) -> float:
    """LPIPS version 0.1 with AlexNet (Zhang et al., arXiv 1801.03924), at least 0."""
    import torch

    x, y = image_pair(reference, decoded, MIN_SIDE)
    with torch.inference_mode():
        return float(_network()(_scaled(x), _scaled(y)))


def check() -> None:
    """Raises InputError if the package or the weights of AlexNet are missing."""
    require_package("lpips")
    download_weights(BACKBONE_URL, BACKBONE_SHA256, "lpips")


def _scaled(pixels: Pixels) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(pixels)[None]).float() / 127.5 - 1


@cache
def _network() -> Any:
    import torch
    from lpips import LPIPS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips uses a deprecated torchvision argument
        network = LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    trained = torch.load(
        download_weights(BACKBONE_URL, BACKBONE_SHA256, "lpips"), map_location="cpu", weights_only=True
    )
    layers = {name: name.split(".", 1)[1] for name in network.net.state_dict()}  # slice2.3.weight is features.3.weight
    network.net.load_state_dict({name: trained[f"features.{layer}"] for name, layer in layers.items()})
    return network


LPIPS_ALEX = Metric(
    name="lpips",
    medium="image",
    unit="",
    better="lower",
    description=(
        "LPIPS 0.1 with AlexNet (Zhang et al., arXiv 1801.03924), of the whole image at its own size. Package lpips, "
        "weights of torchvision."
    ),
    measure=lpips,
    check=check,
    packages=("lpips", "torchvision"),
)
