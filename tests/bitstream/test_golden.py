"""Streams of version 1. If one of these tests fails, existing files cannot be read any more."""

import hashlib

import numpy as np
import pytest

from narrows.bitstream import AudioExtent, FrequencyTables, StreamHeader, inspect, read, write

RANS = bytes.fromhex(
    "8e4e5257011106676f6c64656e0102030405060708052fb5ab807d8019010102010108010211110a06"
    "f086e7ed0a00cd32040b66da2a74af1e7b83b2088866cdaf0bdc629706883501"
)
RAW = bytes.fromhex(
    "8e4e5257011006676f6c64656e0102030405060708807d8019010102010108010211110a06"
    "0178949bb6e1b404087400f8c0e7e2b3625719bdca58904f89be63"
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
    assert inspect(data).header == header
    assert np.array_equal(read(data, tables), CODES)
    assert write(header, CODES, tables) == data


def test_digests():
    assert hashlib.sha256(RANS).hexdigest() == "211b9c155ed72b7b55b8c6c891e4fd8760bebb0f8f84e26a5a489121b4a4bbd3"
    assert hashlib.sha256(RAW).hexdigest() == "ddc698aeca073e271622c60fbaa1a5599699c2b0996fe85ae18b6c8f087c671c"
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
    assert hashlib.sha256(data).hexdigest() == "1c0062a0f6da49556b481d61a06f14ac1d2ea3c146b87c459ba01d2a7abb11e3"
