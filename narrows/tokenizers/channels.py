"""Signals of any channel count through a codec of a fixed one: groups of channels, coded side by side."""

import torch
from torch import Tensor


def group_channels(x: Tensor, size: int) -> Tensor:
    """(n, C, *signal) to (n, S, size, *signal), S = ceil(C / size); a last group is filled up with its last channel."""
    groups = -(-x.shape[1] // size)
    missing = groups * size - x.shape[1]
    x = torch.cat([x, x[:, -1:].expand(-1, missing, *x.shape[2:])], 1) if missing else x
    return x.unflatten(1, (groups, size))


def ungroup_channels(x: Tensor, channels: int) -> Tensor:
    """(S, size, *signal) to (C, *signal); a single channel is the mean of the group in which it was repeated."""
    return x.mean(1) if channels == 1 and x.shape[1] > 1 else x.flatten(0, 1)[:channels]
