"""Networks that predict frequencies: trained on codes, they code them with fewer bits than fixed tables."""

import numpy as np
import pytest
import torch

from narrows.bitstream.predicted import PredictedCoder
from narrows.codecs import FSQ, VQ, EMACodebook
from narrows.errors import InputError
from narrows.recipes.settings import Prediction
from narrows.recipes.training.fit_predicted import ContextNetworks, digits_of, fit_predicted_tables

DIGITS = ((8, 3), (24,))


def walk(frames: int, seed: int) -> torch.Tensor:
    """Codes (2, frames): a random walk, and its code with a little noise."""
    rng = np.random.default_rng(seed)
    first = np.abs(np.cumsum(rng.integers(-1, 2, frames)) % 46 - 23)
    return torch.from_numpy(np.stack((first, (first + rng.integers(0, 2, frames)) % 24)))


def test_they_learn_what_codes_depend_on() -> None:
    recordings = [walk(200, seed) for seed in range(20)]
    tables = fit_predicted_tables(recordings, DIGITS, Prediction(150, 24, 4))
    codes = walk(300, 99)[None].numpy()
    coder = PredictedCoder(tables, 2)
    first, second = coder.bits(codes) / 300
    assert first < 3.5  # log2(24) = 4.6 without context, log2(3) = 1.6 with that of all frames before
    assert second < 2.5  # 1 bit at best
    assert np.array_equal(coder.decompress(coder.compress(codes), codes.shape), codes)
    assert abs(sum(tables.code_bits) - first - second) < 1.5  # measured on short recordings


def test_integers_are_as_good_as_floats() -> None:
    """Rounding the weights costs less than 2 % of the bits."""
    torch.manual_seed(0)
    networks = ContextNetworks(DIGITS, 16, 4)
    values = torch.randint(3, (64, 3))
    values[:12] = values[-12:] = -1
    inside = torch.arange(12, 52)
    stages = [inside[(inside - 12) % 8 == 0], inside[(inside - 12) % 8 == 4]]
    stages += [inside[(inside - 12) % 4 == 2], inside[(inside - 12) % 2 == 1]]
    with torch.no_grad():
        expected = networks.bits(values, stages).numpy()
    codes = torch.stack((values[:, 0] + 8 * values[:, 1], values[:, 2]))[None, :, 12:52].numpy()
    found = PredictedCoder(networks.quantize(np.zeros(2, np.int32)), 2).bits(codes)
    assert np.allclose(found, expected, rtol=0.02)


def test_the_same_seed_gives_the_same_tables() -> None:
    recordings = [walk(50, 0)]
    first, second = (fit_predicted_tables(recordings, DIGITS, Prediction(3, 8, 2), seed=1) for _ in range(2))
    assert first == second
    assert first != fit_predicted_tables(recordings, DIGITS, Prediction(3, 8, 2), seed=2)


def test_recordings_of_a_frame_and_a_deadline_in_the_past() -> None:
    tables = fit_predicted_tables([walk(1, 0)], DIGITS, Prediction(5, 8, 2), deadline=0.0)
    assert tables.codebook_sizes == (24, 24)
    with pytest.raises(InputError, match="expected recordings of at least one frame"):
        fit_predicted_tables([], DIGITS, Prediction(5))


def test_digits_are_the_levels_of_fsq_and_else_those_of_fixed_tables() -> None:
    assert digits_of(FSQ(8, ((5, 4), (3,)))) == ((5, 4), (3,))
    assert digits_of(FSQ(8, (3,) * 9)) == FSQ(8, (3,) * 9).radices
    assert digits_of(VQ(8, EMACodebook(4, 16))) == ((16,),)
