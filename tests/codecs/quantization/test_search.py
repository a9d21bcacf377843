import pytest
import torch

from narrows.codecs.quantization.search import max_inner_product, nearest


@pytest.mark.parametrize(("entries", "dim"), [(2, 1), (31, 8), (32, 8), (1000, 3), (3000, 8), (2100, 64)])
def test_the_codes_are_those_of_cdist_but_for_ties(entries: int, dim: int) -> None:
    torch.manual_seed(0)
    vectors, book = torch.randn(3001, dim), torch.randn(entries, dim)
    codes = nearest(vectors, book)
    wanted = torch.cdist(vectors.double(), book.double())
    differ = codes != wanted.argmin(1)
    assert differ.sum() <= 2  # of 3001
    ours = wanted.gather(1, codes[:, None])[:, 0]
    torch.testing.assert_close(ours, wanted.amin(1), atol=1e-5, rtol=1e-5)


def test_a_vector_finds_the_same_code_alone_and_at_any_place() -> None:
    torch.manual_seed(0)
    vectors, book = torch.randn(600, 8), torch.randn(5000, 8)
    book[2500:] = book[:2500] + 1e-7 * torch.randn(2500, 8)  # nearly ties everywhere
    codes = nearest(vectors, book)
    for place in (0, 1, 17, 255, 256, 599):
        assert nearest(vectors[place : place + 1], book) == codes[place]
        assert nearest(vectors[place : place + 1].expand(300, -1), book).unique().tolist() == [int(codes[place])]
    assert torch.equal(nearest(vectors.flip(0), book).flip(0), codes)


def test_of_equal_codes_the_first_is_taken() -> None:
    book = torch.randn(40, 4)
    assert nearest(book, torch.cat([book, book])).tolist() == list(range(40))


def test_the_largest_product_with_a_bias_is_found() -> None:
    torch.manual_seed(0)
    vectors, book, bias = torch.randn(50, 5), torch.randn(100, 5), torch.randn(100)
    assert torch.equal(max_inner_product(vectors, book, bias), (vectors @ book.T + bias).argmax(1))


def test_precision_is_that_of_float32_whatever_was_chosen_around() -> None:
    torch.manual_seed(0)
    vectors, book = torch.randn(500, 8), torch.randn(2048, 8)
    wanted = nearest(vectors, book)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(nearest(vectors, book), wanted)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_finds_the_same_codes() -> None:
    torch.manual_seed(0)
    vectors, book = torch.randn(10_000, 8), torch.randn(8192, 8)
    assert (nearest(vectors.cuda(), book.cuda()).cpu() != nearest(vectors, book)).sum() <= 2


@pytest.mark.parametrize("offset", [100.0, 10_000.0])
def test_far_from_the_origin_the_nearest_is_found_too(offset: float) -> None:
    """The products of large numbers would drown the distances."""
    torch.manual_seed(0)
    vectors, book = torch.randn(2000, 8) + offset, torch.randn(256, 8) + offset
    exact = torch.cdist(vectors.double(), book.double(), compute_mode="donot_use_mm_for_euclid_dist")
    assert (nearest(vectors, book) != exact.argmin(1)).float().mean() < 1e-3
