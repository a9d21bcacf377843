"""What bottlenecks that are made of bottlenecks share."""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from narrows.codecs.base import Bottleneck, Quantized
from narrows.errors import InputError


def check_members(name: str, members: Sequence[Bottleneck], same_dim: bool) -> list[Bottleneck]:
    """The members. Raises InputError unless there is at least one, all are bottlenecks, all have codes or none, and
    all are of one dim if that is wanted.
    """
    if not isinstance(members, list | tuple) or not members or not all(isinstance(m, Bottleneck) for m in members):
        given = [type(m).__name__ for m in members] if isinstance(members, list | tuple) else type(members).__name__
        raise InputError(f"{name} of {given} given, a list of bottlenecks wanted")
    dims = [member.dim for member in members]
    if same_dim and len(set(dims)) > 1:
        raise InputError(f"{name} of dims {dims} given, one dim wanted")
    if len({bool(member.codebook_sizes) for member in members}) > 1:
        raise InputError(f"{name} with and without codes given; give all continuous ones a rounding, or none")
    return list(members)


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


def summed(entries: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The sum of each entry over those that have it."""
    names = dict.fromkeys(name for entry in entries for name in entry)
    return {name: torch.stack([entry[name] for entry in entries if name in entry]).sum() for name in names}
