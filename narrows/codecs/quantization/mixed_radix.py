"""Mixed-radix numbers: convert several small integers at one position to one code and back, in exact int64 arithmetic.

    code = d0 + L0·d1 + L0·L1·d2 + ...      0 <= di < Li, the first digit is the least significant

Gray coding writes each digit in the reflected Gray code (Gray, US patent 2632058; Knuth, TAOCP 7.2.1.1, for mixed
radices). Level n of L = m·2^a levels, m odd, is a number of radices (2, ..., 2, m), a of them 2; changing n by one
changes one digit of its Gray code by one.

- If all L are powers of two, a code is the concatenation of the digits' bits: one step of one level changes one bit of
  the code, and every bit pattern is a code.
- Otherwise it is still a permutation of the levels that changes one factor per step, but the factors are not bits of
  the code: nothing is guaranteed for single bits.
- The converse does not hold: a flipped bit may change the level by a lot, since the top bit of a digit mirrors the
  level. On average over all levels a flipped bit of a Gray code has a larger mean squared error than a flipped bit of
  plain binary numbers: 3 against 2.5 squared steps for 4 levels, 9 against 7 for 8. The error is smaller if middle
  levels are more frequent.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from narrows.codecs.base import MAX_RADIX
from narrows.errors import InputError

MAX_CODES = 2**62  # codes fit an int64 and the .nrw format


class MixedRadix(nn.Module):
    """Converts levels (..., d) int64 to codes (...) int64 and back.

    Args:
        levels: number of levels of each digit; their product is at most 2^62.
        gray: Gray-code the digits, see above.
    """

    base: Tensor
    count: Tensor
    gray_of: Tensor | None
    level_of: Tensor | None

    def __init__(self, levels: Sequence[int], gray: bool = False) -> None:
        super().__init__()
        if not levels or len(levels) > 62 or math.prod(levels) > MAX_CODES:
            raise InputError(
                f"expected levels whose product is at most 2^62, got {len(levels)} levels {tuple(levels[:8])}"
            )
        self.levels, self.size = tuple(levels), math.prod(levels)
        base = [math.prod(self.levels[:i]) for i in range(len(self.levels))]
        self.register_buffer("base", torch.tensor(base), persistent=False)
        self.register_buffer("count", torch.tensor(self.levels), persistent=False)
        gray_of = level_of = None
        if gray:
            most = max(self.levels)
            gray_of = torch.stack([nn.functional.pad(_gray(n), (0, most - n)) for n in self.levels])
            level_of = torch.stack([nn.functional.pad(_gray(n).argsort(), (0, most - n)) for n in self.levels])
        self.register_buffer("gray_of", gray_of, persistent=False)
        self.register_buffer("level_of", level_of, persistent=False)

    @property
    def radices(self) -> tuple[int, ...]:
        """Digits for entropy coding: neighbouring levels are merged while their product fits a frequency table."""
        digits = [1]
        for levels in self.levels:
            if digits[-1] > 1 and digits[-1] * levels > MAX_RADIX:
                digits.append(1)
            digits[-1] *= levels
        return tuple(digits)

    def join(self, levels: Tensor) -> Tensor:
        """Convert levels (..., d) int64, which must be in range, to codes (...)."""
        return (self._lookup(self.gray_of, levels) * self.base).sum(-1)

    def split(self, codes: Tensor) -> Tensor:
        """Convert codes (...) int64, which must be in range, to levels (..., d)."""
        return self._lookup(self.level_of, codes.unsqueeze(-1) // self.base % self.count)

    def _lookup(self, table: Tensor | None, digits: Tensor) -> Tensor:
        return digits if table is None else table[torch.arange(len(table), device=digits.device), digits]


def _gray(levels: int) -> Tensor:
    """The Gray code (levels,) of each level."""
    twos = (levels & -levels).bit_length() - 1
    number, code = torch.arange(levels), torch.zeros(levels, dtype=torch.int64)
    for place, radix in enumerate((*(2,) * twos, levels >> twos)):
        weight = 2**place
        digit, sweeps = number // weight % radix, number // (weight * radix)
        code += weight * torch.where(sweeps % 2 == 0, digit, radix - 1 - digit)  # every other sweep is reversed
    return code
