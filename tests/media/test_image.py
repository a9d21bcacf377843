import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from narrows.errors import InputError, MediaError
from narrows.media import image


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 14, 3)).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp", "tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_kinds_keep_every_pixel(tmp_path: Path, pixels: np.ndarray, suffix: str, channels: int) -> None:
    path = tmp_path / f"a.{suffix}"
    image.write(path, pixels[..., :channels])
    found = image.read(path)
    assert np.array_equal(found[..., :channels], pixels[..., :channels])
    info = image.probe(path)
    assert (info.height, info.width, info.pixels) == (9, 14, 126)


def test_an_orientation_is_applied(tmp_path: Path, pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert image.read(tmp_path / "a.png").shape == (14, 9, 3)
    assert (image.probe(tmp_path / "a.png").height, image.probe(tmp_path / "a.png").width) == (14, 9)


def test_16_bits_cmyk_palettes_and_animations(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.array_equal(image.read(tmp_path / "deep.png")[..., 0], pixels[..., 0])
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "four.jpg")
    assert image.read(tmp_path / "four.jpg").shape == (9, 14, 3)
    first, second = Image.new("P", (5, 4), 1), Image.new("P", (5, 4), 2)
    for frame in (first, second):
        frame.putpalette([0, 0, 0, 10, 20, 30, 200, 210, 220])
    first.save(tmp_path / "two.gif", save_all=True, append_images=[second])
    assert image.read(tmp_path / "two.gif")[0, 0].tolist() == [10, 20, 30]


def test_only_what_is_transparent_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    alpha = np.full((9, 14, 1), 255, np.uint8)
    Image.fromarray(np.concatenate((pixels, alpha), 2)).save(tmp_path / "opaque.png")
    assert np.array_equal(image.read(tmp_path / "opaque.png"), pixels)
    alpha[3, 3] = 254
    Image.fromarray(np.concatenate((pixels, alpha), 2)).save(tmp_path / "glass.png")
    with pytest.raises(MediaError, match="transparent"):
        image.read(tmp_path / "glass.png")


def test_what_is_no_picture_is_refused_in_one_line(tmp_path: Path, pixels: np.ndarray) -> None:
    image.write(tmp_path / "a.png", pixels)
    image.write(tmp_path / "a.jpg", pixels)
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture\n" * 20)
    for name in ("a.png", "a.jpg"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / f"cut-{name}").write_bytes(data[: len(data) // 2])
    for name in ("empty.png", "text.png", "cut-a.png", "cut-a.jpg", "missing.png"):
        with pytest.raises(MediaError) as caught:
            image.read(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_claim_of_very_many_pixels_is_refused_before_any_is_made(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT")
    with pytest.raises(MediaError, match="at most"):
        image.probe(tmp_path / "bomb.png")


def test_other_pixels_and_suffixes_are_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match="uint8"):
        image.write(tmp_path / "a.png", pixels.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"\.png"):
        image.write(tmp_path / "a.xyz", pixels)
