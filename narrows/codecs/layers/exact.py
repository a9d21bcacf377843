"""Convolutions with the same results on every machine, for networks that choose how bytes are read.

In eval mode all numbers are integer multiples of a power of two, in float64: weights of 2^-16, inputs of 2^-8. All
products and sums stay below 2^53 units, where float64 is exact, so results do not depend on the order of additions, the
number of threads, the batch or the device. In training the same layers compute in float32.
"""

import torch
from torch import Tensor, nn

from narrows.errors import InputError

STEP = 2.0**-8  # unit of an activation
LARGEST = 2.0**10  # of an activation: 2^18 units
WEIGHT_STEP = 2.0**-16  # unit of a weight and a bias
LARGEST_WEIGHT = 2.0**3  # 2^19 units
MOST_TERMS = 2**15  # products in one output: 2^(18 + 19 + 15) < 2^53


def quantize_activations(x: Tensor) -> Tensor:
    """Round to multiples of 2^-8, clamped to ±1024, as float64."""
    return x.double().clamp(-LARGEST, LARGEST).mul_(1 / STEP).round_().mul_(STEP)


def signed_sqrt(x: Tensor) -> Tensor:
    """sign(x) (sqrt(1 + |x|) - 1), which compresses the range of latents.

    For multiples of 2^-8 up to ±2^12, which is what the models pass, the result is at least 2^-25 away from every
    rounding border between two multiples of 2^-8. So a square root that is wrong in its last bit, as in some libraries,
    gives the same `quantize_activations`.
    """
    return x.sign() * ((1 + x.abs()).sqrt() - 1)


class ExactConv2d(nn.Conv2d):
    """(B, C, H, W) to (B, C', H, W), zero-padded. In eval mode float64, and exact.

    Args:
        inputs: C.
        outputs: C'.
        kernel: height and width of the kernel, odd.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1) -> None:
        _check_terms(inputs * kernel**2)
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        if self.training:
            return super().forward(x.clamp(-LARGEST, LARGEST))
        with torch.autocast(x.device.type, enabled=False):
            x, weight, bias = quantize_activations(x), quantize_weights(self.weight), quantize_weights(self.bias)
            if x.device.type == "cpu":
                return nn.functional.conv2d(x, weight, bias, padding=self.padding)
            return convolve(x, weight, bias)


class ExactUpsample2d(nn.ConvTranspose2d):
    """(B, C, H, W) to (B, C', 2 H, 2 W): a transposed 5 × 5 convolution. In eval mode float64, and exact.

    Args:
        inputs: C.
        outputs: C'.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        _check_terms(inputs * 9)
        super().__init__(inputs, outputs, 5, stride=2, padding=2, output_padding=1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, C, H, W) to (B, C', 2 H, 2 W)."""
        if self.training:
            return super().forward(x.clamp(-LARGEST, LARGEST))
        with torch.autocast(x.device.type, enabled=False):
            x, weight, bias = quantize_activations(x), quantize_weights(self.weight), quantize_weights(self.bias)
            if x.device.type == "cpu":
                return nn.functional.conv_transpose2d(x, weight, bias, stride=2, padding=2, output_padding=1)
            return convolve_transposed(x, weight, bias)


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The convolution of `ExactConv2d` as one matrix product (im2col).

    For devices whose convolutions may use Fourier or Winograd transforms, which are not exact.
    """
    kernel, size = weight.shape[2], x.shape[2:]
    columns = x.flatten(2) if kernel == 1 else nn.functional.unfold(x, kernel, padding=kernel // 2)  # (B, C k², H W)
    return (weight.flatten(1) @ columns + bias[:, None]).unflatten(2, size)


def convolve_transposed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The transposed convolution of `ExactUpsample2d` as one matrix product (col2im); see `convolve`."""
    columns = weight.flatten(1).T @ x.flatten(2)  # (B, C' 25, H W)
    size = (2 * x.shape[2], 2 * x.shape[3])
    return nn.functional.fold(columns, size, 5, padding=2, stride=2) + bias[:, None, None]


def quantize_weights(weight: Tensor | None) -> Tensor:
    """Round to multiples of 2^-16, clamped to ±8, as float64."""
    assert weight is not None
    clamped = weight.detach().float().clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT)  # float32 is enough, and faster
    return clamped.mul_(1 / WEIGHT_STEP).round_().mul_(WEIGHT_STEP).double()


def _check_terms(terms: int) -> None:
    if terms > MOST_TERMS:
        raise InputError(f"expected at most {MOST_TERMS} products per output, got {terms}; use fewer channels")
