"""Images within a rate, the weight of distortion at a quality, and an estimate of the bytes before coding."""

from collections.abc import Callable, Sequence
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError, shortened
from narrows.tokenizers.image_tiles import FULL_SCALE
from narrows.tokenizers.search import largest_within
from narrows.tokenizers.tokens import Tokens


def best_within(
    encode: Callable[[int, int], Tokens],
    compress: Callable[[Tokens], bytes],
    qualities: int,
    bits_per_pixel: float,
    effort: int,
) -> Tokens:
    """The best Tokens of an image whose stream has at most `bits_per_pixel`.

    First the best quality is found without effort. Then this quality and higher ones are tried with the effort, as
    long as their streams are within the rate.

    Args:
        encode: encodes the image at a quality index and an effort.
        compress: makes the stream of Tokens.
        qualities: number of quality indices.
        bits_per_pixel: the highest allowed rate.
        effort: effort of the search.

    Raises:
        InputError: if even the lowest quality takes more.
    """
    tried = dict[int, Tokens]()

    def cost(index: int) -> float:
        tried[index] = encode(index, 0)
        return 8 * len(compress(tried[index])) / tried[index].extent.amount

    index, smallest = largest_within(qualities, cost, bits_per_pixel)
    if index is None:
        tokens = next(iter(tried.values()))
        attached = sum(map(len, tokens.attachments.values()))
        of_alpha = f" ({8 * attached / tokens.extent.amount:.3f} for its alpha plane)" if attached else ""
        raise InputError(
            f"expected at least {smallest:.3f} bits per pixel for this image{of_alpha}, got "
            f"{shortened(bits_per_pixel)}; give more"
        )
    result = tried[index]
    for higher in range(index, qualities if effort else index):
        tokens = encode(higher, effort)
        if 8 * len(compress(tokens)) > bits_per_pixel * tokens.extent.amount:
            break
        result = tokens
    return result


def weight_at(lambdas: Sequence[float], quality_index: int, qualities: int) -> float:
    """Lambda at a quality index, interpolated between those of the lowest and the highest quality."""
    position = quality_index / max(1, qualities - 1) * (len(lambdas) - 1)
    return exp(np.interp(position, range(len(lambdas)), [log(value) for value in lambdas]))


def squared_error(x: NDArray[np.generic], decoded: NDArray[np.uint8]) -> float:
    """Sum of squared errors of 8-bit values of an image (C, H, W), floats in [-1, 1] or uint8."""
    target = x if x.dtype == np.uint8 else (x.clip(-1, 1) + 1) * FULL_SCALE
    pairs = zip(target, decoded, strict=True)
    return sum(float(np.square(np.subtract(a, b, dtype=np.float32)).sum(dtype=np.float64)) for a, b in pairs)
