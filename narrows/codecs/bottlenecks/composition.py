"""Helpers of bottlenecks that consist of bottlenecks."""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.checks import MAX_SIZE
from narrows.errors import InputError


def check_members(name: str, members: Sequence[Bottleneck], same_dim: bool) -> list[Bottleneck]:
    """Check the members of a composed bottleneck.

    Args:
        name: name of the constructor argument, for the message.
        members: at least one bottleneck; all with codes, or all without.
        same_dim: whether all must have the same dim.

    Returns:
        The members as a list.

    Raises:
        InputError: for other members.
    """
    if not isinstance(members, list | tuple) or not members or not all(isinstance(m, Bottleneck) for m in members):
        given = [type(m).__name__ for m in members] if isinstance(members, list | tuple) else type(members).__name__
        raise InputError(f"expected {name} to be a list of bottlenecks, got {given}")
    dims = [member.dim for member in members]
    if same_dim and len(set(dims)) > 1:
        raise InputError(f"expected {name} of one dim, got dims {dims}")
    if len({bool(member.codebook_sizes) for member in members}) > 1:
        raise InputError(
            f"expected {name} all with codes or all without, got both; give all continuous ones a rounding, or none"
        )
    return list(members)


def as_bottlenecks(members: nn.ModuleList) -> list[Bottleneck]:
    """The members with their type."""
    return cast(list[Bottleneck], list(members))


def all_sizes(members: Iterable[Bottleneck]) -> tuple[int, ...]:
    """The codebook sizes of all members, concatenated. Raises InputError for more than any codec has."""
    given = [member.codebook_sizes for member in members]
    check_count(sum(map(len, given)))
    return tuple(size for sizes in given for size in sizes)


def check_count(codebooks: int) -> None:
    """Raise InputError for more codebooks than any codec has, before a list of them takes memory."""
    if codebooks > MAX_SIZE:
        raise InputError(f"expected at most {MAX_SIZE} codebooks in all, got {codebooks}; use fewer")


def all_radices(members: Iterable[Bottleneck]) -> tuple[tuple[int, ...], ...]:
    """The radices of all members, concatenated."""
    return tuple(digits for member in members for digits in member.radices)


def split_codes(codes: Tensor, members: nn.ModuleList) -> Iterator[Tensor]:
    """Split codes (B, k, *grid) by member; the last member that gets codes may get only a prefix of its codebooks."""
    begin = 0
    for member in as_bottlenecks(members):
        if begin >= codes.shape[1]:
            return
        end = begin + len(member.codebook_sizes)
        yield codes[:, begin:end]
        begin = end


def concatenate_codes(outputs: Sequence[Quantized]) -> Tensor | None:
    """The codes of all members, concatenated; None if they are continuous."""
    codes = [output.codes for output in outputs if output.codes is not None]
    return torch.cat(codes, 1) if len(codes) == len(outputs) else None


def mean_by_name(values: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each named value over the members that have it; values are scalars or (B,)."""
    return {name: stacked.mean(0) for name, stacked in _by_name(values)}


def sum_by_name(values: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The sum of each named value over the members that have it; values are scalars or (B,)."""
    return {name: stacked.sum(0) for name, stacked in _by_name(values)}


def _by_name(values: Sequence[dict[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    for name in dict.fromkeys(name for named in values for name in named):
        yield name, torch.stack(torch.broadcast_tensors(*[named[name] for named in values if name in named]))
