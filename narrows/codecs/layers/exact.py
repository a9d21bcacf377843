"""Convolutions whose results are the same numbers on every machine, for networks that choose how bytes are read.

In eval mode all numbers are whole multiples of a power of two, carried in float64: weights of 2^-16, inputs of 2^-8.
Every product and every sum of them stays below 2^53 of its unit, where float64 is exact. So the order of the additions,
the number of threads, the batch and the device cannot matter. In training the same layers compute in float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from narrows.errors import InputError

STEP = 2.0**-8  # unit of an activation
LARGEST = 2.0**10  # of an activation: 2^18 units
WEIGHT_STEP = 2.0**-16  # unit of a weight and a bias
LARGEST_WEIGHT = 2.0**3  # 2^19 units
MOST_TERMS = 2**15  # products in one output: 2^(18 + 19 + 15) < 2^53


def snap(x: Tensor) -> Tensor:
    """Numbers to the nearest multiples of 2^-8 within ±1024, float64."""
    return x.double().clamp(-LARGEST, LARGEST).mul_(1 / STEP).round_().mul_(STEP)


def compressed(x: Tensor) -> Tensor:
    """sign(x) (sqrt(1 + |x|) - 1): numbers over several decades as numbers of a few units.

    Of multiples of 2^-8 up to ±2^12, which is what the models have, the result is at least 2^-25 from every border
    between two multiples of 2^-8. So a square root that is wrong in its last bit, as some libraries' are, is the same
    once it is snapped.
    """
    return x.sign() * ((1 + x.abs()).sqrt() - 1)


class ExactConv2d(nn.Conv2d):
    """(B, C, H, W) to (B, C', H, W): an odd kernel, zeros beyond the edges. In eval mode float64, and exact."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1) -> None:
        _check_terms(inputs * kernel**2)
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        if self.training:
            return super().forward(x.clamp(-LARGEST, LARGEST))
        with _plainly(x.device):
            return nn.functional.conv2d(snap(x), _to_grid(self.weight), _to_grid(self.bias), padding=self.padding)


class ExactUpsample2d(nn.ConvTranspose2d):
    """(B, C, H, W) to (B, C', 2 H, 2 W): a transposed 5 × 5 convolution. In eval mode float64, and exact."""

    def __init__(self, inputs: int, outputs: int) -> None:
        _check_terms(inputs * 9)
        super().__init__(inputs, outputs, 5, stride=2, padding=2, output_padding=1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, C, H, W) to (B, C', 2 H, 2 W)."""
        if self.training:
            return super().forward(x.clamp(-LARGEST, LARGEST))
        with _plainly(x.device):
            weight, bias = _to_grid(self.weight), _to_grid(self.bias)
            return nn.functional.conv_transpose2d(snap(x), weight, bias, stride=2, padding=2, output_padding=1)


@contextmanager
def _plainly(device: torch.device) -> Iterator[None]:
    """Sums of products as they stand: without autocast, and without the Fourier transforms that cuDNN may choose."""
    with torch.autocast(device.type, enabled=False), torch.backends.cudnn.flags(enabled=False):
        yield


def _to_grid(weight: Tensor | None) -> Tensor:
    """Weights to the nearest multiples of 2^-16 within ±8, float64."""
    assert weight is not None
    within = (
        weight.detach().float().clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT)
    )  # float32 has room for 19 bits, and is faster
    return within.mul_(1 / WEIGHT_STEP).round_().mul_(WEIGHT_STEP).double()


def _check_terms(terms: int) -> None:
    if terms > MOST_TERMS:
        raise InputError(f"{terms} products in one output given, at most {MOST_TERMS} are exact; take fewer channels")
