import numpy as np
import pytest

from narrows.errors import InputError
from narrows.evaluation.metrics.codebook_usage import codebook_usage


def test_usage_over_all_items():
    codes = [np.array([[0, 0, 1, 1], [5, 5, 5, 5]]), np.array([[[2, 2], [3, 3]], [[5, 5], [5, 5]]])]
    even, single = codebook_usage(codes, (8, 2**36))
    assert (even.codes, even.used, even.entropy, even.perplexity) == (8, 0.5, 2.0, 4.0)
    assert (single.codes, single.used, single.entropy, single.perplexity) == (8, 2.0**-36, 0.0, 1.0)


def test_matches_the_usage_in_training():
    import torch

    from narrows.codecs.quantization.usage import usage

    codes = np.random.default_rng(0).integers(0, 50, (3, 400)) ** 2 // 50
    found = codebook_usage([codes[:, :100], codes[:, 100:]], (64, 64, 64))
    expected = usage(torch.from_numpy(codes)[None], (64, 64, 64))
    assert np.mean([book.used for book in found]) == pytest.approx(float(expected["usage"]))
    assert np.mean([book.perplexity for book in found]) == pytest.approx(float(expected["perplexity"]), rel=1e-5)


def test_invalid_codes_are_rejected():
    with pytest.raises(InputError, match=r"shape \(1, ...\), got \(2, 3\)"):
        codebook_usage([np.zeros((2, 3), np.int64)], (4,))
    for wrong in (-1, 4):
        with pytest.raises(InputError, match="expected codes from 0 to 3"):
            codebook_usage([np.array([[0, wrong]])], (4,))
    for nothing in ([], [np.zeros((1, 0), np.int64)]):
        with pytest.raises(InputError, match="at least one code of each codebook, got none"):
            codebook_usage(nothing, (4,))
