"""LPIPS: distance of features of a network that recognizes pictures."""

import warnings
from functools import cache
from typing import Any

import numpy as np

from narrows.evaluation.base import Metric, Signal
from narrows.evaluation.metrics import needs
from narrows.evaluation.metrics.pairs import Pixels, pictures

BACKBONE = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"  # torchvision's AlexNet, of ImageNet
DIGEST = "7be5be79"
LEAST_SIDE = 31  # pixels, that the last layer still sees one place


def lpips(reference: Signal, decoded: Signal) -> float:
    """LPIPS version 0.1 with AlexNet (Zhang et al., arXiv 1801.03924), from 0."""
    import torch

    x, y = pictures(reference, decoded, LEAST_SIDE)
    with torch.inference_mode():
        return float(_network()(_scaled(x), _scaled(y)))


def check() -> None:
    """Raises InputError where the package or the weights of AlexNet are missing."""
    needs.package("lpips", "lpips", "perceptual")
    needs.weights(BACKBONE, DIGEST, "lpips")


def _scaled(pixels: Pixels) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))[None]).float() / 127.5 - 1


@cache
def _network() -> Any:
    import torch
    from lpips import LPIPS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of how it asks torchvision for a network without weights
        network = LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    trained = torch.load(needs.weights(BACKBONE, DIGEST, "lpips"), map_location="cpu", weights_only=True)
    layers = {name: name.split(".", 1)[1] for name in network.net.state_dict()}  # slice2.3.weight is features.3.weight
    network.net.load_state_dict({name: trained[f"features.{layer}"] for name, layer in layers.items()})
    return network


LPIPS_ALEX = Metric(
    "lpips",
    "image",
    "",
    "lower",
    "LPIPS 0.1 with AlexNet (Zhang et al., arXiv 1801.03924), of the whole picture at its own size. Package lpips, "
    "weights of torchvision.",
    lpips,
    check,
    ("lpips", "torchvision"),
)
