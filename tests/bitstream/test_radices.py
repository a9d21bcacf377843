import numpy as np
import pytest

from narrows.bitstream import alphabet_sizes, codebook_sizes, codes_to_symbols, symbols_to_codes
from narrows.bitstream.radices import check_radices
from narrows.errors import InputError

RADICES = ((1024,), (289, 289, 289), (1,), (4096, 2), (2,) * 8)


def test_sizes():
    assert codebook_sizes(RADICES) == (1024, 17**6, 1, 8192, 256)
    assert alphabet_sizes(RADICES) == (1024, 289, 289, 289, 1, 4096, 2, *(2,) * 8)


@pytest.mark.parametrize("grid", [(1,), (7,), (3, 4), (2, 3, 4)])
@pytest.mark.parametrize("channels", [1, 2])
def test_round_trip(grid, channels):
    rng = np.random.default_rng(len(grid) + channels)
    sizes = np.array(codebook_sizes(RADICES)).reshape(1, -1, *(1,) * len(grid))
    codes = (rng.random((channels, len(RADICES), *grid)) * sizes).astype(np.int64)
    codes[0, :].reshape(len(RADICES), -1)[:, -1] = sizes.reshape(-1) - 1
    streams = codes_to_symbols(codes, RADICES)
    assert [stream.shape for stream in streams] == [(channels * np.prod(grid),)] * 15
    assert all(stream.max() < size for stream, size in zip(streams, alphabet_sizes(RADICES), strict=True))
    joined = symbols_to_codes(streams, RADICES, codes.shape)
    assert joined.dtype == np.int64
    assert np.array_equal(joined, codes)


def test_least_significant_digit_first():
    streams = codes_to_symbols(np.array([[[5 + 289 * 7 + 289**2 * 11]]]), ((289, 289, 289),))
    assert [stream.tolist() for stream in streams] == [[5], [7], [11]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint64])
def test_any_integer_type(dtype):
    codes = np.arange(100, dtype=dtype).reshape(1, 1, 100)
    assert np.array_equal(symbols_to_codes(codes_to_symbols(codes, ((10, 10),)), ((10, 10),), codes.shape), codes)


@pytest.mark.parametrize("value", [-1, 42, 2**40])
def test_code_outside_its_codebook(value):
    codes = np.zeros((1, 2, 5), np.int64)
    codes[0, 1, 3] = value
    with pytest.raises(InputError, match=f"expected codes from 0 to 41 in codebook 1, got {value}"):
        codes_to_symbols(codes, ((10,), (6, 7)))


def test_digit_outside_its_alphabet():
    streams = [np.zeros(2, np.int32), np.array([1, 7])]
    with pytest.raises(InputError, match="expected 0 to 6 as digit 1 of codebook 0, got 7"):
        symbols_to_codes(streams, ((6, 7),), (1, 1, 2))


@pytest.mark.parametrize("shape", [(1, 2, 0), (1, 3, 4), (2, 4), (2,)])
def test_shape(shape):
    with pytest.raises(InputError, match=r"expected codes \(G, 2, \*grid\)"):
        codes_to_symbols(np.zeros(shape, int), ((10,), (10,)))


@pytest.mark.parametrize("codes", [np.zeros((1, 2, 3)), np.zeros((1, 2, 3), bool)])
def test_type(codes):
    with pytest.raises(InputError, match="expected codes as integers"):
        codes_to_symbols(codes, ((10,), (10,)))


def test_wrong_number_of_streams():
    with pytest.raises(InputError, match="expected 2 streams of 3 symbols"):
        symbols_to_codes([np.zeros(3, np.int32)], ((6, 7),), (1, 1, 3))


@pytest.mark.parametrize(
    "radices", [(), ((),), ((0,),), ((4097,),), ((2.0,),), ((2,) * 9,), ((4096,) * 6,), ([4],), ((2,),) * 1025]
)
def test_invalid_radices(radices):
    with pytest.raises(InputError):
        check_radices(radices)
