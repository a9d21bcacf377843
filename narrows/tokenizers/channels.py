"""Signals as arrays, and channel groups: a codec with a fixed number of channels codes any number, group by group."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.errors import InputError


def as_array(x: object) -> NDArray[Any]:
    """Convert a tensor, or anything that NumPy converts, to an array.

    Raises InputError for tensors without values and for lists of unequal lengths.
    """
    if isinstance(x, Tensor):
        if x.is_meta or x.layout != torch.strided:
            raise InputError(f"expected a dense tensor with values, got one on {x.device} of layout {x.layout}")
        in_numpy = not x.is_floating_point() or (x.dtype != torch.bfloat16 and x.itemsize > 1)
        x = (x if in_numpy else x.float()).detach().cpu().numpy()
    try:
        return np.asarray(x)
    except ValueError as error:
        raise InputError(f"expected an array with sides of one length, got {type(x).__name__} ({error})") from error


def group_channels(x: Tensor, size: int) -> Tensor:
    """(n, C, *signal) to (n, S, size, *signal), S = ceil(C / size). The last group is filled with its last channel."""
    groups = -(-x.shape[1] // size)
    missing = groups * size - x.shape[1]
    x = torch.cat([x, x[:, -1:].expand(-1, missing, *x.shape[2:])], 1) if missing else x
    return x.unflatten(1, (groups, size))


def ungroup_channels(x: Tensor, channels: int) -> Tensor:
    """(S, size, *signal) to (C, *signal). For a mono signal, its repeated channels are averaged."""
    return x.mean(1) if channels == 1 and x.shape[1] > 1 else x.flatten(0, 1)[:channels]
