import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

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


@pytest.mark.parametrize("sizes", [(4, 8), (2**17, 2**17)])
def test_usage_stays_on_the_device_of_the_codes(sizes: tuple[int, ...]) -> None:
    with FakeTensorMode():  # raises if tensors of two devices meet
        found = usage(torch.zeros(2, 2, 5, dtype=torch.int64, device="cuda"), sizes)
    assert {value.device.type for value in found.values()} == {"cuda"}
