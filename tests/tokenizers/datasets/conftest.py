from types import SimpleNamespace

import numpy as np
import pytest

from narrows.bitstream import AudioExtent, ImageExtent
from narrows.tokenizers.datasets.base import Made, Row
from narrows.tokenizers.datasets.shards import write_shard

SOUND = Made("audio", "codes", "m", "00" * 8, ((8,), (8,), (5, 4)), 3, 320, 16_000)
PICTURES = Made("image", "codes", "m", "11" * 8, ((64, 2048),), 1, 16)
LATENTS = Made("image", "latents", "m", "22" * 8, (), 4, 16)


def sound(key="a", samples=1000, channels=1, rate=16_000, meta=(), seed=0):
    """A row of SOUND."""
    numbers, frames = np.random.default_rng(seed), -(-samples * 16_000 // rate // 320)
    codes = np.stack([numbers.integers(size, size=(channels, frames)) for size in (8, 8, 20)], 1)
    return Row(key, codes, AudioExtent(rate, samples, channels), dict(meta))


def picture(key="a", height=30, width=50, made=PICTURES, meta=(), seed=0):
    """A row of PICTURES or LATENTS."""
    numbers, grid = np.random.default_rng(seed), (1, made.books, -(-height // 16), -(-width // 16))
    codes = numbers.integers(1 << 17, size=grid) if made.kind == "codes" else numbers.normal(size=grid).astype("f2")
    return Row(key, codes, ImageExtent(height, width, 3), dict(meta))


@pytest.fixture
def tokenized(tmp_path):
    """tokenized(counts, made) -> a folder of shards with so many rows each, and all rows."""

    def folder(*counts, made=SOUND, name="out", **meta):
        out, rows = tmp_path / name, []
        out.mkdir()
        for index, count in enumerate(counts):
            first = len(rows)
            for place in range(first, first + count):
                own = {"number": place, **meta}
                key = f"k/{place:04d}"
                made_by = sound if made.medium == "audio" else picture
                sizes = {"samples": 300 + 40 * (place % 7)} if made.medium == "audio" else {"made": made}
                rows.append(made_by(key, meta=own, seed=place, **sizes))
            write_shard(out / f"{index:05d}-of-{len(counts):05d}.parquet", rows[first:], made)
        return out, rows

    return folder


def same(first, second):
    """Whether two rows are equal in everything."""
    return (
        np.array_equal(first.values, second.values)
        and first.values.shape == second.values.shape
        and (first.key, first.extent, dict(first.meta)) == (second.key, second.extent, dict(second.meta))
    )


@pytest.fixture
def samples():
    """Constants and rows for tests, and what compares two rows."""
    names = {"SOUND": SOUND, "PICTURES": PICTURES, "LATENTS": LATENTS}
    return SimpleNamespace(**names, sound=sound, picture=picture, same=same)
