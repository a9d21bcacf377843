"""What bottlenecks that are made of bottlenecks share."""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from narrows.codecs.bottlenecks.base import Bottleneck, Quantized
from narrows.errors import InputError


def check_members(name: str, members: Sequence[Bottleneck], same_dim: bool) -> None:
    """Raise InputError unless there is at least one member, all are bottlenecks, and of one dim if that is wanted."""
    if not members or not all(isinstance(member, Bottleneck) for member in members):
        raise InputError(f"{name} of {[type(member).__name__ for member in members]} given, bottlenecks wanted")
    dims = [member.dim for member in members]
    if same_dim and len(set(dims)) > 1:
        raise InputError(f"{name} of dims {dims} given, one dim wanted")


def listed(members: nn.ModuleList) -> list[Bottleneck]:
    """The members, known to be bottlenecks."""
    return cast(list[Bottleneck], list(members))


def sizes(members: Iterable[Bottleneck]) -> tuple[int, ...]:
    """The codebook sizes of all members, one after the other."""
    return tuple(size for member in members for size in member.codebook_sizes)


def cut(codes: Tensor, members: nn.ModuleList) -> Iterator[Tensor]:
    """Codes (B, k, *grid) to those of each member; of the last one that has any, perhaps not all."""
    begin = 0
    for member in listed(members):
        if begin >= codes.shape[1]:
            return
        end = begin + len(member.codebook_sizes)
        yield codes[:, begin:end]
        begin = end


def joined(parts: Sequence[Quantized]) -> Tensor | None:
    """The codes of all members side by side; None where they are continuous and have none."""
    codes = [part.codes for part in parts if part.codes is not None]
    return torch.cat(codes, 1) if len(codes) == len(parts) else None


def averaged(entries: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each entry over those that have it."""
    names = dict.fromkeys(name for entry in entries for name in entry)
    return {name: torch.stack([entry[name] for entry in entries if name in entry]).mean() for name in names}
