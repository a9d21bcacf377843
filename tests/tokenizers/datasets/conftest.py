import hashlib
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from narrows.checkpoints import folder
from narrows.codecs import BSQ, Codec, ConvDecoder, ConvEncoder, SoftNorm
from narrows.media import image

RATE = 16_000


@pytest.fixture(scope="session")
def model(tiny_checkpoint: Callable[[], Path]) -> str:
    return str(tiny_checkpoint())


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five pictures, three of one size, one grey."""
    place, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number, shape in enumerate([(24, 40, 3), (33, 17, 3), (24, 40, 3), (20, 20, 1), (24, 40, 3)]):
        image.write(place / f"p{number}.png", random.integers(0, 256, shape).astype(np.uint8))
    return place


@pytest.fixture(scope="session")
def picture_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of tokenizers of pictures: one with codes, one with real numbers."""
    place, made = tmp_path_factory.mktemp("picture-models"), dict[str, str]()
    for name, bottleneck in {"codes": BSQ(6, 8, 2), "latents": SoftNorm(6, 4)}.items():
        torch.manual_seed(0)
        codec = Codec(ConvEncoder(6, 8), bottleneck, ConvDecoder(6, 8))
        folder.save(place / name, codec, name)
        made[name] = str(place / name)
    return made


@pytest.fixture
def bomb() -> bytes:
    """A PNG of a few hundred bytes that says it has 30 000 × 30 000 pixels."""
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    body = chunk(b"IDAT", zlib.compress(bytes(100_000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


@pytest.fixture
def digests() -> Callable[[Path], dict[str, str]]:
    """digests(folder) -> SHA-256 of each of its files."""

    def of(place: Path) -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(place.iterdir())}

    return of
