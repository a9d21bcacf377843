import pytest
import torch

from narrows.codecs.quantization.usage import usage


def test_usage_and_perplexity_are_means_over_the_codebooks() -> None:
    codes = torch.tensor([[[0, 0, 1, 1], [2, 2, 2, 2]]])
    found = usage(codes, (4, 8))
    assert found["usage"].item() == pytest.approx((2 / 4 + 1 / 8) / 2)
    assert found["perplexity"].item() == pytest.approx((2 + 1) / 2)


def test_a_large_codebook_gives_the_same_perplexity() -> None:
    codes = torch.tensor([[[5, 5, 70_000, 9]]])
    found, same = usage(codes, (2**17,)), usage(torch.tensor([[[0, 0, 2, 1]]]), (4,))
    assert found["usage"].item() == pytest.approx(3 / 2**17)
    assert found["perplexity"].item() == pytest.approx(same["perplexity"].item())
    assert usage(codes, ()) == {}
