"""Convolutions with bit-exact results on every machine, for networks whose output selects the tables of entropy coding.

All numbers are float64 multiples of a power of two: 2^-16 for weights and 2^-8 for inputs. All products and sums stay
below 2^53 such units, where float64 is exact. So results do not depend on the order of additions, the number of
threads, the batch or the device. In training mode the layers compute in float32, except for float64 inputs: encoding
and decoding are exact in both modes.
"""

import torch
from torch import Tensor, nn

from narrows.errors import InputError

ACTIVATION_STEP = 2.0**-8  # unit of an activation
MAX_ACTIVATION = 2.0**10  # 2^18 units
WEIGHT_STEP = 2.0**-16  # unit of a weight and a bias
MAX_WEIGHT = 2.0**3  # 2^19 units
MAX_TERMS = 2**15  # products per output: 2^(18 + 19 + 15) < 2^53


def quantize_activations(x: Tensor) -> Tensor:
    """Round to multiples of 2^-8, clamped to ±1024, as float64."""
    return x.double().clamp(-MAX_ACTIVATION, MAX_ACTIVATION).mul_(1 / ACTIVATION_STEP).round_().mul_(ACTIVATION_STEP)


def signed_sqrt(x: Tensor) -> Tensor:
    """sign(x) (sqrt(1 + |x|) - 1), which compresses the range of latents.

    The models call it with multiples of 2^-8 up to ±2^12. For these, the result is at least 2^-25 away from every
    midpoint between two multiples of 2^-8. So `quantize_activations` rounds it to the same value even if a library
    computes the last bit of the square root wrong.
    """
    return x.sign() * ((1 + x.abs()).sqrt() - 1)


class ExactConv2d(nn.Conv2d):
    """A zero-padded convolution, (B, C, H, W) to (B, C', H, W). Exact in float64 outside of training.

    Args:
        inputs: input channels, C.
        outputs: output channels, C'.
        kernel: height and width of the kernel, odd.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1) -> None:
        _check_terms(inputs * kernel**2)
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        if self.training and x.dtype != torch.float64:
            return super().forward(x.clamp(-MAX_ACTIVATION, MAX_ACTIVATION))
        with torch.autocast(x.device.type, enabled=False):
            x, weight, bias = quantize_activations(x), quantize_weights(self.weight), quantize_weights(self.bias)
            if x.device.type == "cpu":
                return nn.functional.conv2d(x, weight, bias, padding=self.padding)
            return convolve(x, weight, bias)


class ExactUpsample2d(nn.ConvTranspose2d):
    """A transposed 5 × 5 convolution, (B, C, H, W) to (B, C', 2 H, 2 W). Exact in float64 outside of training.

    Args:
        inputs: input channels, C.
        outputs: output channels, C'.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        _check_terms(inputs * 9)
        super().__init__(inputs, outputs, 5, stride=2, padding=2, output_padding=1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, C, H, W) to (B, C', 2 H, 2 W)."""
        if self.training and x.dtype != torch.float64:
            return super().forward(x.clamp(-MAX_ACTIVATION, MAX_ACTIVATION))
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
    columns = weight.flatten(1).T @ x.flatten(2)  # (B, 25 C', H W)
    size = (2 * x.shape[2], 2 * x.shape[3])
    return nn.functional.fold(columns, size, 5, padding=2, stride=2) + bias[:, None, None]


def quantize_weights(weight: Tensor | None) -> Tensor:
    """Round to multiples of 2^-16, clamped to ±8, as float64."""
    assert weight is not None
    clamped = (
        weight.detach().float().clamp(-MAX_WEIGHT, MAX_WEIGHT)
    )  # float32 represents every multiple in this range, and is faster
    return clamped.mul_(1 / WEIGHT_STEP).round_().mul_(WEIGHT_STEP).double()


def _check_terms(terms: int) -> None:
    if terms > MAX_TERMS:
        raise InputError(f"expected at most {MAX_TERMS} products per output, got {terms}; use fewer channels")
