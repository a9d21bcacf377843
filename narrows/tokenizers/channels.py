"""Channel groups: a codec with a fixed number of channels codes any number of channels, one group at a time."""

import torch
from torch import Tensor


def group_channels(x: Tensor, size: int) -> Tensor:
    """(n, C, *signal) to (n, S, size, *signal), S = ceil(C / size). The last group is filled with its last channel."""
    groups = -(-x.shape[1] // size)
    missing = groups * size - x.shape[1]
    x = torch.cat([x, x[:, -1:].expand(-1, missing, *x.shape[2:])], 1) if missing else x
    return x.unflatten(1, (groups, size))


def ungroup_channels(x: Tensor, channels: int) -> Tensor:
    """(S, size, *signal) to (C, *signal). For a mono signal, its repeated channels are averaged."""
    return x.mean(1) if channels == 1 and x.shape[1] > 1 else x.flatten(0, 1)[:channels]
