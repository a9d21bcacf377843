"""The order of layers in SEANet (Tagliasacchi et al., arXiv 2009.02095), as EnCodec and its successors have it.

    encoder   conv 7 ─ [residual ─ ELU ─ strided conv] per stride, channels doubled ─ middle ─ ELU ─ conv
    decoder   conv 7 ─ middle ─ [ELU ─ transposed conv ─ residual] per stride, channels halved ─ ELU ─ conv

The layers themselves are arguments: EnCodec's are reflected at the ends of the signal, those of Mimi have a state.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from torch import nn

from narrows.codecs.checks import MAX_SIZE, check_integer_lists, check_integers
from narrows.errors import InputError

FIRST_KERNEL = 7
RESIDUAL_KERNEL = 3
MAX_STRIDES = 8


@dataclass(frozen=True)
class Layers:
    """What the networks are made of.

    Args:
        conv: (inputs, outputs, kernel, stride) to a convolution.
        upsampling: (inputs, outputs, stride) to a transposed convolution.
        residual: channels to a residual block.
        middle: layers at the rate of the latents, for their number of channels.
        last: kernel of the last convolution.
    """

    conv: Callable[[int, int, int, int], nn.Module]
    upsampling: Callable[[int, int, int], nn.Module]
    residual: Callable[[int], nn.Module]
    middle: Callable[[int], Sequence[nn.Module]]
    last: int


def check_sizes(strides: Sequence[int], **sizes: int) -> int:
    """The samples per latent. Raises InputError for sizes out of range."""
    check_integers(1, MAX_SIZE, **sizes)
    check_integer_lists(1, MAX_SIZE, strides=strides)
    if len(strides) > MAX_STRIDES or prod(strides) > MAX_SIZE:
        raise InputError(
            f"expected at most {MAX_STRIDES} strides of a product up to {MAX_SIZE}, got {list(strides)[:9]}"
        )
    check_integers(1, MAX_SIZE, widest=sizes["width"] << len(strides))
    return prod(strides)


def encoder_layers(layers: Layers, channels: int, dim: int, width: int, strides: Sequence[int]) -> list[nn.Module]:
    """The layers of an encoder (B, channels, T) to (B, dim, F); strides in the order of the decoder."""
    made = [layers.conv(channels, width, FIRST_KERNEL, 1)]
    for stride in reversed(strides):
        made += [layers.residual(width), nn.ELU(), layers.conv(width, 2 * width, 2 * stride, stride)]
        width *= 2
    return [*made, *layers.middle(width), nn.ELU(), layers.conv(width, dim, layers.last, 1)]


def decoder_layers(layers: Layers, channels: int, dim: int, width: int, strides: Sequence[int]) -> list[nn.Module]:
    """The layers of a decoder (B, dim, F) to (B, channels, T)."""
    width <<= len(strides)
    made = [layers.conv(dim, width, FIRST_KERNEL, 1), *layers.middle(width)]
    for stride in strides:
        made += [nn.ELU(), layers.upsampling(width, width // 2, stride), layers.residual(width // 2)]
        width //= 2
    return [*made, nn.ELU(), layers.conv(width, channels, layers.last, 1)]
