from itertools import pairwise

import pytest
import torch

from narrows.codecs import FSQ
from narrows.codecs.quantization.mixed_radix import MixedRadix
from narrows.errors import InputError


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("levels", [(17,) * 6, (2,) * 62, (4096, 5, 3), (8, 6, 12, 1)])
def test_join_and_split_are_exact_inverses(levels: tuple[int, ...], gray: bool) -> None:
    digits = MixedRadix(levels, gray)
    drawn = torch.stack([torch.randint(n, (2000,)) for n in levels], -1)
    drawn[0], drawn[1] = 0, torch.tensor(levels) - 1
    codes = digits.join(drawn)
    assert torch.equal(digits.split(codes), drawn)
    assert codes.min() >= 0
    assert codes.max() < digits.size


def test_codes_beyond_the_integers_of_float32_are_exact() -> None:
    digits = MixedRadix((17,) * 6)
    for start in (0, 2**24 - 500, 17**6 - 1000):
        codes = torch.arange(start, start + 1000)
        assert torch.equal(digits.join(digits.split(codes)), codes)
    assert digits.radices == (289, 289, 289)


@pytest.mark.parametrize("levels", [2, 4, 8, 64, 4096])
def test_gray_neighbours_differ_in_one_bit_for_powers_of_two(levels: int) -> None:
    codes = MixedRadix((levels,), gray=True).join(torch.arange(levels).unsqueeze(-1)).tolist()
    assert sorted(codes) == list(range(levels))
    assert {(a ^ b).bit_count() for a, b in pairwise(codes)} == {1}
    assert codes == [n ^ n >> 1 for n in range(levels)]


@pytest.mark.parametrize(("levels", "radices"), [(6, (2, 3)), (12, (2, 2, 3)), (40, (2, 2, 2, 5)), (5, (5,))])
def test_gray_neighbours_differ_in_one_factor_otherwise(levels: int, radices: tuple[int, ...]) -> None:
    codes = MixedRadix((levels,), gray=True).join(torch.arange(levels).unsqueeze(-1)).tolist()
    assert sorted(codes) == list(range(levels))
    for a, b in pairwise(codes):
        steps = []
        for radix in radices:
            steps.append(abs(a % radix - b % radix))
            a, b = a // radix, b // radix
        assert sorted(steps) == [0] * (len(radices) - 1) + [1]


@pytest.mark.parametrize(("levels", "plain", "gray"), [(4, 2.5, 3.0), (8, 7.0, 9.0)])
def test_mean_squared_error_of_a_flipped_bit(levels: int, plain: float, gray: float) -> None:
    for coded, expected in ((False, plain), (True, gray)):
        digits, level = MixedRadix((levels,), coded), torch.arange(levels).unsqueeze(-1)
        flips = 1 << torch.arange(levels.bit_length() - 1)
        arrived = digits.split(digits.join(level).unsqueeze(-1) ^ flips)
        assert (arrived.squeeze(-1) - level).float().square().mean().item() == expected


def test_gray_changes_only_the_codes() -> None:
    torch.manual_seed(0)
    plain, gray = FSQ(6, (8, 4)).eval(), FSQ(6, (8, 4), gray=True).eval()
    gray.load_state_dict(plain.state_dict())
    z = torch.randn(2, 6, 100)
    assert torch.equal(plain(z).latents, gray(z).latents)
    assert not torch.equal(plain.encode(z), gray.encode(z))


@pytest.mark.parametrize("levels", [(), (4096,) * 6])
def test_codes_beyond_int64_raise(levels: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="at most 2\\^62"):
        MixedRadix(levels)
