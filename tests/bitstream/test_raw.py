import numpy as np
import pytest

from narrows.bitstream import codebook_sizes
from narrows.bitstream.raw import RawCoder
from narrows.errors import DamagedStream, InputError


def test_bits():
    coder = RawCoder(((8,), (3, 5), (1,)))
    codes = np.array([[[1, 6], [14, 3], [0, 0]]])
    # 3 bits each of 1, 6; 4 bits each of 14, 3; low bits first: 100 011 0111 1100
    assert coder.compress(codes) == bytes([0b10110001, 0b00001111])
    assert coder.payload_size(2) == 2


@pytest.mark.parametrize("seed", range(20))
def test_round_trip(seed):
    rng = np.random.default_rng(seed)
    radices = tuple((int(rng.integers(1, 4097)),) * int(rng.integers(1, 4)) for _ in range(rng.integers(1, 6)))
    grid = tuple(rng.integers(1, 6, rng.integers(1, 4)).tolist())
    sizes = np.array(codebook_sizes(radices)).reshape(1, -1, *(1,) * len(grid))
    codes = (rng.random((2, len(radices), *grid)) * sizes).astype(np.int64)
    coder = RawCoder(radices)
    payload = coder.compress(codes)
    assert len(payload) == coder.payload_size(2 * int(np.prod(grid)))
    assert np.array_equal(coder.decompress(payload, codes.shape), codes)
    assert np.array_equal(coder.salvage(payload, codes.shape), codes)


def test_largest_codebook():
    coder = RawCoder(((4096,) * 5 + (4,),))
    codes = np.array([[[2**62 - 1, 0, 2**61 + 1]]])
    assert np.array_equal(coder.decompress(coder.compress(codes), (1, 1, 3)), codes)


def test_codebooks_of_one_code():
    coder = RawCoder(((1,),))
    assert coder.compress(np.zeros((1, 1, 5), int)) == b""
    assert coder.decompress(b"", (1, 1, 5)).tolist() == [[[0] * 5]]


def test_one_bit_changes_one_code():
    coder = RawCoder(((10,), (1000,)))
    codes = np.array([[[1, 2, 3], [400, 500, 600]]])
    payload = bytearray(coder.compress(codes))
    payload[3] ^= 4
    assert (coder.salvage(bytes(payload), codes.shape) != codes).sum() == 1


def test_a_code_outside_its_codebook_is_lost():
    coder = RawCoder(((10,),))
    assert coder.salvage(b"\xf9\x03", (1, 1, 3)).tolist() == [[[9, -1, 3]]]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"\x00", "expected 2 bytes in a raw chunk, got 1"),
        (b"\0\xf0", "zero bits after the last code"),
        (b"\xf9\x03", "from 0 to 9 in codebook 0, got more"),
    ],
)
def test_invalid_payloads(payload, message):
    with pytest.raises(DamagedStream, match=message):
        RawCoder(((10,),)).decompress(payload, (1, 1, 3))


def test_invalid_codes():
    with pytest.raises(InputError, match="from 0 to 9 in codebook 0, got 10"):
        RawCoder(((10,),)).compress(np.array([[[10]]]))
