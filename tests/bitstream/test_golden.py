"""Streams of version 2. If one of these tests fails, existing files cannot be read any more."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from narrows.bitstream import AudioExtent, FrequencyTables, StreamHeader, inspect, read, write

RANS = bytes.fromhex(
    "8e4e525702110c9e6406676f6c64656e0102030405060708052fb5ab807d8019010102010108010211110a06"
    "b08ff35f0a0a42f48c0b66da2a74af1e7b83b208ff21c51b0bdc629706883501"
)
RAW = bytes.fromhex(
    "8e4e5257021033da8506676f6c64656e0102030405060708807d8019010102010108010211110a06"
    "12ccdeb881b01cea087400f8c0e7e2b362094fa45558904f89be63"
)
CODES = np.array([[[0, 1, 0, 2, 7, 0, 0, 3, 1, 0], [0, 31, 124, 279, 207, 197, 249, 74, 250, 199]]])
SEVENTEEN = np.array([3856] + [3855] * 16)
TABLES = FrequencyTables((np.array([32768, 16384, 8192, 4096, 2048, 1024, 512, 512]), SEVENTEEN, SEVENTEEN))
HEADER = StreamHeader(
    "golden", bytes(range(1, 9)), AudioExtent(16000, 3200, 1), ((8,), (17, 17)), (10,), 6, 1, TABLES.digest[:4]
)
RAW_HEADER = StreamHeader("golden", bytes(range(1, 9)), AudioExtent(16000, 3200, 1), ((8,), (17, 17)), (10,), 6)


@pytest.mark.parametrize(("data", "header", "tables"), [(RANS, HEADER, TABLES), (RAW, RAW_HEADER, None)])
def test_stream(data, header, tables):
    assert replace(inspect(data).header, stream_id=bytes(3)) == header
    assert np.array_equal(read(data, tables), CODES)
    assert write(header, CODES, tables) == data


def test_digests():
    assert hashlib.sha256(RANS).hexdigest() == "fc7c0368915c6dff0bdb823e9aba78e8e834a983b0508f8abe28fd0e0331bfa7"
    assert hashlib.sha256(RAW).hexdigest() == "99d07a9d508689e3162e6b21f0382137b08fb9cf55c902c47aa22c06a2ac7055"
    assert TABLES.digest.hex() == "052fb5abff27326a992b45e9cfe5ebb315052c94e9578e1b4f490e9b1f602d7b"


def test_large_stream():
    """Several words and all kinds of alphabets; compared by its hash."""
    place = np.arange(3 * 700, dtype=np.int64).reshape(1, 3, 700)
    codes = place**3 % np.array([1000, 289**3, 1]).reshape(1, 3, 1)
    flat = np.full(289, 226)
    flat[0] += 65536 - 226 * 289
    skewed = np.full(1000, 1)
    skewed[:500] += 129
    skewed[0] += 65536 - int(skewed.sum())
    tables = FrequencyTables((skewed, flat, flat, flat, np.array([65536])))
    radices = ((1000,), (289, 289, 289), (1,))
    header = StreamHeader("golden", bytes(8), AudioExtent(48000, 448000, 2), radices, (700,), 300, 1, tables.digest[:4])
    data = write(header, codes, tables)
    assert np.array_equal(read(data, tables), codes)
    assert hashlib.sha256(data).hexdigest() == "9715e82242df7a13b8c10b66f55ec3e4f76e9bde6da85f4fc5f867c0d601a621"
