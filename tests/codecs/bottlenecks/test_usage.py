import pytest
import torch

from narrows.codecs.bottlenecks.usage import usage


def test_usage_and_perplexity_are_means_over_the_codebooks() -> None:
    codes = torch.tensor([[[0, 0, 1, 1], [2, 2, 2, 2]]])
    found = usage(codes, (4, 8))
    assert found["usage"].item() == pytest.approx((2 / 4 + 1 / 8) / 2)
    assert found["perplexity"].item() == pytest.approx((2 + 1) / 2)


def test_a_codebook_too_large_is_not_counted() -> None:
    assert usage(torch.zeros(1, 1, 3).long(), (2**20,)) == {}
