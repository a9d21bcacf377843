"""A scalar coder in plain integers, written only from docs/stream.md, and small streams for many tests."""

from types import SimpleNamespace

import numpy as np
import pytest

from narrows.bitstream import AudioExtent, FrequencyTables, StreamHeader, alphabet_sizes, integer_frequencies


def encode(streams, tables):
    """Symbol streams (lists) to a payload, both in the order of the format."""
    symbols = [(symbol, table) for stream, table in zip(streams, tables, strict=True) for symbol in stream]
    symbols = [(symbol, table) for symbol, table in symbols if len(table) > 1]
    if not symbols:
        return b""
    words, state = [], symbols.pop()[0]
    for symbol, table in reversed(symbols):
        start, width = sum(table[:symbol]) << 8, table[symbol] << 8
        if state >> 40 >= width:
            words.append(state & 0xFFFFFFFF)
            state >>= 32
        state = (state // width << 24) + start + state % width
    while state:
        words.append(state & 0xFFFFFFFF)
        state >>= 32
    return b"".join(word.to_bytes(4, "little") for word in words).rstrip(b"\0")


def decode(payload, tables, count):
    """A payload back to streams of `count` symbols each."""
    padded = payload + bytes(-len(payload) % 4)
    words = [int.from_bytes(padded[i : i + 4], "little") for i in range(0, len(padded), 4)]
    state = 0
    while words and state < 1 << 32:
        state = state << 32 | words.pop()
    coded = [index for index, table in enumerate(tables) if len(table) > 1]
    streams = [[0] * count for _ in tables]
    for index in coded:
        for place in range(count):
            if (index, place) == (coded[-1], count - 1):
                assert not words
                assert state < len(tables[index])
                streams[index][place] = state
                break
            slot, symbol, start = state & 0xFFFFFF, 0, 0
            while start + (tables[index][symbol] << 8) <= slot:
                start += tables[index][symbol] << 8
                symbol += 1
            streams[index][place] = symbol
            state = (state >> 24) * (tables[index][symbol] << 8) + slot - start
            if state < 1 << 32 and words:
                state = state << 32 | words.pop()
    return streams


@pytest.fixture(scope="session")
def reference():
    return SimpleNamespace(encode=encode, decode=decode)


@pytest.fixture(scope="session")
def make():
    """make(seed, raw) -> header, codes, tables of a small audio stream of 3 codebooks and 4 chunks."""

    def small(seed=0, raw=False):
        rng = np.random.default_rng(seed)
        radices = ((20,), (6, 7), (1,))
        tables = FrequencyTables(
            tuple(integer_frequencies(rng.random(size) ** 3 + 1e-6) for size in alphabet_sizes(radices))
        )
        sizes = np.array([20, 42, 1]).reshape(1, 3, 1)
        codes = (rng.random((2, 3, 22)) ** 2 * sizes).astype(np.int64)
        digest = None if raw else tables.digest[:4]
        header = StreamHeader(
            "small", b"weights!", AudioExtent(16000, 7040, 2), radices, (22,), 6, 2, digest, None, b"id!"
        )
        return header, codes, None if raw else tables

    return small
