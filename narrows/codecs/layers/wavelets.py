"""Haar wavelets over the last axes of a signal: sums and differences of neighbours, orthonormal.

haar              (B, C, *signal) ──▶ (B, 2^n C, *signal / 2), the low frequencies of all channels first
inverse_haar      back

Coefficients are ordered by frequency, then by channel: for time, height and width LLL, LLH, LHL, LHH, HLL, ..., as in
WF-VAE (arXiv 2411.17459, section 3.1; its constant 0.3536 is 1 / √8 here). Pairs in time start with the first frame, so
a signal with an even number of frames is transformed piece by piece with the same result.
"""

import torch
from torch import Tensor


def haar(x: Tensor, axes: int) -> Tensor:
    """One level of the transform.

    Args:
        x: (B, C, *signal), the last axes even.
        axes: n, the number of last axes to transform.

    Returns:
        (B, 2^n C, *signal), the last axes half as long.
    """
    for axis in range(x.ndim - 1, x.ndim - 1 - axes, -1):
        even, odd = x.unflatten(axis, (-1, 2)).unbind(axis + 1)
        x = torch.cat((even + odd, even - odd), 1)
    return x * 0.5 ** (axes / 2)


def inverse_haar(x: Tensor, axes: int) -> Tensor:
    """The inverse of `haar`: (B, 2^n C, *signal) to (B, C, *signal), the last n axes twice as long."""
    for axis in range(x.ndim - axes, x.ndim):
        low, high = x.chunk(2, 1)
        x = torch.stack((low + high, low - high), axis + 1).flatten(axis, axis + 1)
    return x * 0.5 ** (axes / 2)
