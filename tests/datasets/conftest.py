import hashlib
import struct
import zlib
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from narrows.bitstream import AudioExtent, ImageExtent
from narrows.checkpoints import folder
from narrows.codecs import (
    BSQ,
    Codec,
    ConvDecoder,
    ConvEncoder,
    FactorisedDecoder,
    FactorisedEncoder,
    FrameDecoder,
    FrameEncoder,
    Gaussian,
    SoftNorm,
    Tanh,
)
from narrows.datasets.base import DatasetInfo, TokenizedItem
from narrows.datasets.shards import write_shard
from narrows.media import image, video
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.image import ImageTokenizer
from narrows.tokenizers.video import VideoTokenizer

RATE = 16_000
AUDIO = DatasetInfo("audio", "codes", "m", "00" * 8, ((8,), (8,), (5, 4)), 3, (320,), 1, 16_000)
IMAGES = DatasetInfo("image", "codes", "m", "11" * 8, ((64, 2048),), 1, (16, 16), 3)
LATENTS = DatasetInfo("image", "latents", "m", "22" * 8, (), 4, (16, 16), 3)


def audio_item(key="a", samples=1000, channels=1, rate=16_000, meta=(), seed=0):
    """A row of AUDIO."""
    numbers, frames = np.random.default_rng(seed), -(-samples * 16_000 // rate // 320)
    codes = np.stack([numbers.integers(size, size=(channels, frames)) for size in (8, 8, 20)], 1)
    return TokenizedItem(key, codes, AudioExtent(rate, samples, channels), dict(meta))


def image_item(key="a", height=30, width=50, made=IMAGES, meta=(), seed=0):
    """A row of IMAGES or LATENTS."""
    numbers, grid = np.random.default_rng(seed), (1, made.depth, -(-height // 16), -(-width // 16))
    codes = numbers.integers(1 << 17, size=grid) if made.kind == "codes" else numbers.normal(size=grid).astype("f2")
    return TokenizedItem(key, codes, ImageExtent(height, width, 3), dict(meta))


@pytest.fixture
def tokenized(tmp_path):
    """tokenized(counts, made) -> a folder of shards with so many rows each, and all rows."""

    def folder(*counts, made=AUDIO, name="out", **meta):
        out, rows = tmp_path / name, []
        out.mkdir()
        for index, count in enumerate(counts):
            first = len(rows)
            for place in range(first, first + count):
                own = {"number": place, **meta}
                key = f"k/{place:04d}"
                make = audio_item if made.medium == "audio" else image_item
                sizes = {"samples": 300 + 40 * (place % 7)} if made.medium == "audio" else {"made": made}
                rows.append(make(key, meta=own, seed=place, **sizes))
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
    names = {"AUDIO": AUDIO, "IMAGES": IMAGES, "LATENTS": LATENTS}
    return SimpleNamespace(**names, audio=audio_item, image=image_item, same=same)


@pytest.fixture(scope="session")
def model(tiny_checkpoint):
    return str(tiny_checkpoint())


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """A folder of nine recordings of many rates, lengths and channels."""
    place, random = tmp_path_factory.mktemp("recordings"), np.random.default_rng(0)
    kinds = [(1, RATE, 1), (700, 8000, 1), (20_000, 44_100, 2), (30_000, 22_050, 1), (170_001, RATE, 1)]
    for number, (samples, rate, channels) in enumerate([*kinds, *([(9_000, RATE, 1)] * 3), (50_000, RATE, 3)]):
        x = 0.1 * random.standard_normal((samples, channels))
        path = place / f"d{number % 2}" / f"r{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, x, rate)
    return place


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A folder of five images, three of one size, one grey."""
    place, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number, shape in enumerate([(3, 24, 40), (3, 33, 17), (3, 24, 40), (1, 20, 20), (3, 24, 40)]):
        image.write(place / f"p{number}.png", random.integers(0, 256, shape).astype(np.uint8))
    return place


@pytest.fixture(scope="session")
def image_models(tmp_path_factory):
    """Folders of image tokenizers: one with codes, one with continuous latents."""
    place, made = tmp_path_factory.mktemp("image-models"), {}
    for name, bottleneck in {"codes": BSQ(6, 8, 2), "latents": SoftNorm(6, 4)}.items():
        torch.manual_seed(0)
        codec = Codec(ConvEncoder(6, 8), bottleneck, ConvDecoder(6, 8))
        tokenizer = ImageTokenizer(codec)
        tokenizer.name = name
        folder.save(place / name, tokenizer)
        made[name] = str(place / name)
    return made


@pytest.fixture(scope="session")
def continuous():
    """An audio tokenizer with continuous latents."""
    torch.manual_seed(0)
    codec = Codec(FrameEncoder(8, 16, 1), Tanh(8, 4), FrameDecoder(8, 16, 1, iterations=1))
    return AudioTokenizer(codec, RATE)


@pytest.fixture
def bomb():
    """A PNG of a few hundred bytes that says it has 30 000 × 30 000 pixels."""
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    body = chunk(b"IDAT", zlib.compress(bytes(100_000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


@pytest.fixture
def digests():
    """digests(folder) -> SHA-256 of each of its files, but those that only a killed process leaves behind."""

    def of(place):
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(place.glob("[!.]*"))}

    return of


def frames_of(count, height=32, width=48, seed=0):
    """Smooth random frames (3, H, W)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 8
    for place in range(count):
        waves = [np.sin(x + 0.3 * place + phase) + np.cos(y * phase) for phase in random.uniform(0.5, 2, 3)]
        yield (128 + 50 * np.stack(waves)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """A folder of five clips: three sizes, of 1 to 20 frames, one of them of a variable rate."""
    place = tmp_path_factory.mktemp("clips")
    (place / "a").mkdir()
    video.write(place / "a" / "one.mp4", frames_of(1), 25)
    video.write(place / "a" / "long.webm", frames_of(20, seed=1), Fraction(30000, 1001))
    video.write(place / "b.mkv", frames_of(9, 33, 17, 2), 10)
    video.write(place / "c.mp4", frames_of(6, 40, 40, 3), 24)
    times = [Fraction(n, 30) for n in (0, 1, 3, 4, 9, 10, 11)]
    video.write(place / "phone.mp4", frames_of(7, seed=4), times=times)
    return place


@pytest.fixture(scope="session")
def video_latents(tmp_path_factory):
    """Folder of a video tokenizer with continuous latents."""
    torch.manual_seed(0)
    size = {"widths": (8, 8), "depths": (1, 1)}
    codec = Codec(FactorisedEncoder(4, **size), Gaussian(4, 3), FactorisedDecoder(4, **size))
    tokenizer = VideoTokenizer(codec)
    tokenizer.name = "video-latents"
    place = tmp_path_factory.mktemp("video-models") / "latents"
    folder.save(place, tokenizer)
    return str(place)
