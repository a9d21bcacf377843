import subprocess
import sys

import pytest
import torch

from narrows.codecs.quantization.search import max_inner_product, nearest


@pytest.mark.parametrize(("entries", "dim"), [(2, 1), (31, 8), (32, 8), (1000, 3), (3000, 8), (2100, 64), (5000, 200)])
def test_codes_are_those_of_cdist_up_to_ties(entries: int, dim: int) -> None:
    torch.manual_seed(0)
    vectors, codebook = torch.randn(3001, dim), torch.randn(entries, dim)
    codes = nearest(vectors, codebook)
    expected = torch.cdist(vectors.double(), codebook.double())
    differ = codes != expected.argmin(1)
    assert differ.sum() <= 2  # of 3001
    ours = expected.gather(1, codes[:, None])[:, 0]
    torch.testing.assert_close(ours, expected.amin(1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dim", [8, 128])
def test_the_code_of_a_vector_does_not_depend_on_position_or_batch(dim: int) -> None:
    torch.manual_seed(0)
    vectors, codebook = torch.randn(600, dim), torch.randn(5000, dim)
    codebook[2500:] = codebook[:2500] + 1e-7 * torch.randn(2500, dim)  # nearly ties everywhere
    codes = nearest(vectors, codebook)
    for place in (0, 1, 17, 255, 256, 599):
        assert nearest(vectors[place : place + 1], codebook) == codes[place]
        assert nearest(vectors[place : place + 1].expand(300, -1), codebook).unique().tolist() == [int(codes[place])]
    assert torch.equal(nearest(vectors.flip(0), codebook).flip(0), codes)


@pytest.mark.parametrize(("entries", "dim"), [(40, 4), (40, 100), (3000, 100)])
def test_the_first_of_equal_codes_is_found(entries: int, dim: int) -> None:
    codebook = torch.randn(entries, dim)
    assert nearest(codebook, torch.cat([codebook, codebook])).tolist() == list(range(entries))


def test_max_inner_product_with_a_bias() -> None:
    torch.manual_seed(0)
    vectors, codebook, bias = torch.randn(50, 5), torch.randn(100, 5), torch.randn(100)
    assert torch.equal(max_inner_product(vectors, codebook, bias), (vectors @ codebook.T + bias).argmax(1))


def test_reduced_matmul_precision_and_autocast_change_no_codes() -> None:
    torch.manual_seed(0)
    vectors, codebook = torch.randn(500, 8), torch.randn(2048, 8)
    expected = nearest(vectors, codebook)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(nearest(vectors, codebook), expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


NEW_SETTINGS = """
import torch
from narrows.codecs import IBQ, VQ, EMACodebook
torch.manual_seed(0)
bottlenecks, z = [VQ(6, EMACodebook(6, 512)).eval(), IBQ(6, 512, 4).eval()], torch.randn(2, 6, 50)
expected = [bottleneck.encode(z) for bottleneck in bottlenecks]
torch.backends.fp32_precision = "tf32"
assert all(torch.equal(b.encode(z), codes) for b, codes in zip(bottlenecks, expected))
assert torch.backends.fp32_precision == "tf32"
"""


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="a setting since PyTorch 2.9")
def test_the_newer_precision_settings_change_no_codes() -> None:
    """In a process of its own: the older and the newer settings must not be mixed."""
    subprocess.run([sys.executable, "-c", NEW_SETTINGS], check=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_finds_the_same_codes() -> None:
    torch.manual_seed(0)
    vectors, codebook = torch.randn(10_000, 8), torch.randn(8192, 8)
    assert (nearest(vectors.cuda(), codebook.cuda()).cpu() != nearest(vectors, codebook)).sum() <= 2


@pytest.mark.parametrize("offset", [100.0, 10_000.0])
def test_nearest_codes_far_from_the_origin(offset: float) -> None:
    """The products of large numbers would drown the distances."""
    torch.manual_seed(0)
    vectors, codebook = torch.randn(2000, 8) + offset, torch.randn(256, 8) + offset
    exact = torch.cdist(vectors.double(), codebook.double(), compute_mode="donot_use_mm_for_euclid_dist")
    assert (nearest(vectors, codebook) != exact.argmin(1)).float().mean() < 1e-3
