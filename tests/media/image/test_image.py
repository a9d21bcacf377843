import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from narrows.errors import InputError, MediaError
from narrows.media import image


@pytest.fixture
def pixels() -> np.ndarray:
    """(C, H, W)."""
    return np.random.default_rng(0).integers(0, 256, (3, 9, 14)).astype(np.uint8)


def pil(pixels: np.ndarray) -> PILImage.Image:
    """The image of pixels (C, H, W), by Pillow alone."""
    return PILImage.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp", "tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, pixels: np.ndarray, suffix: str, channels: int) -> None:
    path = tmp_path / f"a.{suffix}"
    image.write(path, pixels[:channels])
    found = image.read(path)
    kept = 3 if suffix == "webp" else channels  # WebP stores grey as three equal channels
    assert np.array_equal(found.pixels, np.broadcast_to(pixels[:channels], (kept, 9, 14)))
    assert found.pixels.dtype == np.uint8
    info = image.probe(path)
    assert (info.height, info.width, info.channels, info.pixels) == (9, 14, kept, 126)


def test_an_orientation_is_applied(tmp_path: Path, pixels: np.ndarray) -> None:
    exif = PILImage.Exif()
    exif[0x0112] = 6
    pil(pixels).save(tmp_path / "a.png", exif=exif)
    assert image.read(tmp_path / "a.png").pixels.shape == (3, 14, 9)
    assert (image.probe(tmp_path / "a.png").height, image.probe(tmp_path / "a.png").width) == (14, 9)


def test_16_bits_cmyk_palettes_and_animations(tmp_path: Path, pixels: np.ndarray) -> None:
    PILImage.fromarray(pixels[0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.array_equal(image.read(tmp_path / "deep.png").pixels, pixels[:1])
    pil(pixels).convert("CMYK").save(tmp_path / "four.jpg")
    assert image.read(tmp_path / "four.jpg").pixels.shape == (3, 9, 14)
    first, second = PILImage.new("P", (5, 4), 1), PILImage.new("P", (5, 4), 2)
    for frame in (first, second):
        frame.putpalette([0, 0, 0, 10, 20, 30, 200, 210, 220])
    first.save(tmp_path / "two.gif", save_all=True, append_images=[second])
    assert image.read(tmp_path / "two.gif").pixels[:, 0, 0].tolist() == [10, 20, 30]


def test_alpha_is_kept_if_a_pixel_is_transparent(tmp_path: Path, pixels: np.ndarray) -> None:
    alpha = np.full((1, 9, 14), 255, np.uint8)
    pil(np.concatenate((pixels, alpha))).save(tmp_path / "opaque.png")
    assert np.array_equal(image.read(tmp_path / "opaque.png").pixels, pixels)
    alpha[0, 3, 3] = 254
    pil(np.concatenate((pixels, alpha))).save(tmp_path / "glass.png")
    found = image.read(tmp_path / "glass.png")
    assert np.array_equal(found.pixels, pixels)
    assert np.array_equal(found.alpha, alpha[0])
    assert image.read(tmp_path / "opaque.png").alpha is None
    with pytest.raises(MediaError, match=r"transparent ones in .*--background"):
        image.read_opaque(tmp_path / "glass.png")


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "avif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_is_written(tmp_path: Path, pixels: np.ndarray, suffix: str, channels: int) -> None:
    alpha = np.random.default_rng(1).integers(0, 256, (9, 14), np.uint8)
    image.write(tmp_path / f"a.{suffix}", pixels[:channels], alpha=alpha)
    found = image.read(tmp_path / f"a.{suffix}")
    if suffix == "avif":
        assert abs(found.alpha.astype(int) - alpha).mean() < 6
    else:
        assert np.array_equal(found.alpha, alpha)
        assert np.array_equal(found.pixels, np.broadcast_to(pixels[:channels], found.pixels.shape))


def test_alpha_of_another_shape_or_format(tmp_path: Path, pixels: np.ndarray) -> None:
    alpha = np.full((9, 14), 7, np.uint8)
    for wrong in (alpha.astype(np.float32), alpha[:-1], alpha[None]):
        with pytest.raises(InputError, match="expected alpha"):
            image.write(tmp_path / "a.png", pixels, alpha=wrong)
        with pytest.raises(InputError, match="expected alpha"):
            image.Image(pixels, wrong)
    for suffix in ("jpg", "bmp"):
        with pytest.raises(InputError, match="--background"):
            image.write(tmp_path / f"a.{suffix}", pixels, alpha=alpha)
        image.write(tmp_path / f"a.{suffix}", pixels, alpha=np.full((9, 14), 255, np.uint8))


def test_backgrounds(pixels: np.ndarray) -> None:
    alpha = np.random.default_rng(1).integers(0, 256, (9, 14), np.uint8)
    found = image.Image(pixels, alpha).flattened("#ff8000")
    behind = np.array([255, 128, 0])[:, None, None]
    exact = (pixels * (alpha / 255) + behind * (1 - alpha / 255)).round()
    assert found.alpha is None
    assert abs(found.pixels - exact).max() <= 1
    assert image.Image(pixels[:1], alpha).flattened("white").pixels.shape == (1, 9, 14)
    assert image.Image(pixels[:1], alpha).flattened("red").pixels.shape == (3, 9, 14)
    for text in ("no colour", "rgb(300,0,0)", "#12345", "a" * 99_999, b"red" * 9999, 3):
        with pytest.raises(InputError, match="expected a colour") as caught:
            image.Image(pixels).flattened(text)  # type: ignore[arg-type]
        assert len(str(caught.value)) < 200


def test_files_that_are_no_image_are_errors_of_one_line(tmp_path: Path, pixels: np.ndarray) -> None:
    image.write(tmp_path / "a.png", pixels)
    image.write(tmp_path / "a.jpg", pixels)
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not an image\n" * 20)
    for name in ("a.png", "a.jpg"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / f"cut-{name}").write_bytes(data[: len(data) // 2])
    for name in ("empty.png", "text.png", "cut-a.png", "cut-a.jpg", "missing.png"):
        with pytest.raises(MediaError) as caught:
            image.read(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_too_many_pixels_are_an_error_before_memory_is_allocated(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT")
    with pytest.raises(MediaError, match="at most"):
        image.probe(tmp_path / "bomb.png")


def test_other_pixels_and_suffixes(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match="uint8"):
        image.write(tmp_path / "a.png", pixels.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"\.png"):
        image.write(tmp_path / "a.xyz", pixels)


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of a display, version 2.1."""
    table, data = struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(data), len(body))
        data += body
    head = struct.pack(">4s4sI4s4s4s", bytes(4), bytes(4), 0x02100000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + WHITE[8:] + bytes(48)
    whole = head + table + data
    return struct.pack(">I", len(whole)) + whole[4:]


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(65536 * value) for value in values))


WHITE = xyz(0.9642, 1, 0.8249)
LINEAR = b"curv" + bytes(8)
GREY = profile(b"GRAY", {b"wtpt": WHITE, b"kTRC": LINEAR})
SWAPPED = profile(  # sRGB with red and green exchanged, and linear
    b"RGB ",
    {
        b"wtpt": WHITE,
        b"rXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"gXYZ": xyz(0.4361, 0.2225, 0.0139),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        b"rTRC": LINEAR,
        b"gTRC": LINEAR,
        b"bTRC": LINEAR,
    },
)


def test_colours_are_converted_to_srgb(tmp_path: Path) -> None:
    red = PILImage.new("RGB", (4, 4), (255, 0, 0))
    for mode in ("RGB", "P"):
        red.convert(mode).save(tmp_path / "red.png", icc_profile=SWAPPED)
        assert abs(image.read(tmp_path / "red.png").pixels[:, 0, 0].astype(int) - [0, 255, 0]).max() <= 2
    for value in (np.uint8(100), np.uint16(25700)):
        PILImage.fromarray(np.full((4, 4), value)).save(tmp_path / "grey.png", icc_profile=GREY)
        # 100/255 of the light is 1.055 (100/255)^(1/2.4) - 0.055 of the scale (IEC 61966-2-1)
        assert abs(int(image.read(tmp_path / "grey.png").pixels[0, 0, 0]) - 168) <= 1


@pytest.mark.parametrize("icc", [b"no profile at all", GREY, SWAPPED[:200]])
def test_a_profile_that_cannot_be_used_is_ignored(tmp_path: Path, pixels: np.ndarray, icc: bytes) -> None:
    pil(pixels).save(tmp_path / "a.png", icc_profile=icc)
    assert np.array_equal(image.read(tmp_path / "a.png").pixels, pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "tif"])
def test_every_orientation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    """The upper left quarter is white once it is upright (EXIF 2.3, 4.6.4 A, orientation)."""
    upright = np.zeros((32, 64, 3), np.uint8)
    upright[:16, :32] = 255
    stored = [upright, upright[:, ::-1], upright[::-1, ::-1], upright[::-1]]
    turned = upright.transpose(1, 0, 2)
    stored += [turned, turned[::-1], turned[::-1, ::-1], turned[:, ::-1]]
    exif = PILImage.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    PILImage.fromarray(np.ascontiguousarray(stored[orientation - 1])).save(path, exif=exif)
    found = image.read(path).pixels.transpose(1, 2, 0)
    assert found.shape == upright.shape
    assert abs(found.astype(int) - upright).mean() < 2
    assert (image.probe(path).height, image.probe(path).width) == (32, 64)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "avif"])
def test_lossy_formats_are_close(tmp_path: Path, suffix: str) -> None:
    y, x = np.mgrid[:64, :96]
    smooth = np.stack((2 * x, 4 * y, 255 - 2 * x)).clip(0, 255).astype(np.uint8)
    image.write(tmp_path / f"a.{suffix}", smooth)
    assert abs(image.read(tmp_path / f"a.{suffix}").pixels.astype(int) - smooth).mean() < 2


def test_files_of_more_than_one_image(tmp_path: Path, pixels: np.ndarray) -> None:
    first, second = pil(pixels), pil(255 - pixels)
    for name in ("a.tiff", "a.webp", "a.png"):
        options = {"lossless": True} if name == "a.webp" else {}
        first.save(tmp_path / name, save_all=True, append_images=[second], **options)
        assert image.probe(tmp_path / name).multiple
        assert np.array_equal(image.read(tmp_path / name).pixels, pixels)
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])  # as cameras write them
    assert image.probe(tmp_path / "a.jpg").multiple
    assert image.read(tmp_path / "a.jpg").pixels.shape == pixels.shape
    image.write(tmp_path / "one.png", pixels)
    assert not image.probe(tmp_path / "one.png").multiple


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.float32([[0, 0.5, 1]]), [0, 128, 255]),
        (np.float32([[0, 100, 255]]), [0, 100, 255]),
        (np.int32([[0, 257, 65_535]]), [0, 1, 255]),
        (np.array([[False, True, True]]), [0, 255, 255]),
    ],
)
def test_other_numbers_become_8_bits(tmp_path: Path, values: np.ndarray, expected: list[int]) -> None:
    PILImage.fromarray(values).save(tmp_path / "a.tiff")
    assert image.read(tmp_path / "a.tiff").pixels.ravel().tolist() == expected


def test_pixels_that_are_nan(tmp_path: Path) -> None:
    PILImage.fromarray(np.float32([[0, np.nan]])).save(tmp_path / "a.tiff")
    with pytest.raises(MediaError, match="NaN"):
        image.read(tmp_path / "a.tiff")


def test_a_transparent_colour_and_grey_with_alpha(tmp_path: Path, pixels: np.ndarray) -> None:
    pil(pixels).save(tmp_path / "a.png", transparency=tuple(int(v) for v in pixels[:, 0, 0]))
    PILImage.new("LA", (4, 4), (7, 100)).save(tmp_path / "b.png")
    expected = np.where((pixels == pixels[:, :1, :1]).all(0), 0, 255)
    assert np.array_equal(image.read(tmp_path / "a.png").alpha, expected)
    assert (image.read(tmp_path / "b.png").alpha == 100).all()
    PILImage.new("LA", (4, 4), (7, 255)).save(tmp_path / "c.png")
    assert image.read(tmp_path / "c.png").pixels.tolist() == [[[7] * 4] * 4]


def test_changed_bytes_raise_only_media_errors(tmp_path: Path, pixels: np.ndarray) -> None:
    draw, messages = np.random.default_rng(0), []
    for suffix in sorted(image.MEDIUM.suffixes - {".heic", ".heif"}):
        encoded = io.BytesIO()
        pil(pixels).save(encoded, PILImage.registered_extensions()[suffix])
        path = tmp_path / f"a{suffix}"
        for _ in range(30):
            data = bytearray(encoded.getvalue())
            for place in draw.integers(0, min(300, len(data)), 3):
                data[place] = draw.integers(0, 256)
            path.write_bytes(data)
            try:
                image.probe(path)
                assert image.read(path).pixels.ndim == 3
            except MediaError as error:
                messages.append(str(error))
    assert messages
    assert not any("\n" in line for line in messages)


def test_a_height_beyond_the_limit_of_webp(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"write a \.png"):
        image.write(tmp_path / "a.webp", np.zeros((3, 1, 16_384), np.uint8))
    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_only_with_overwrite(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "a.png"
    path.write_text("mine")
    with pytest.raises(MediaError, match="exists already"):
        image.write(path, pixels)
    assert path.read_text() == "mine"
    image.write(path, pixels, overwrite=True)
    assert np.array_equal(image.read(path).pixels, pixels)


def test_grey_of_16_bits_with_a_transparent_value(tmp_path: Path) -> None:
    levels = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    PILImage.fromarray(levels).save(tmp_path / "a.png", transparency=5)  # which no pixel has
    np.testing.assert_array_equal(image.read(tmp_path / "a.png").pixels[0], levels // 257)
    PILImage.fromarray(levels).save(tmp_path / "b.png", transparency=514)
    assert np.array_equal(image.read(tmp_path / "b.png").alpha, np.where(levels == 514, 0, 255))


def test_widths_beyond_the_limit_of_a_format(tmp_path: Path) -> None:
    for suffix in ("jpg", "webp", "avif"):
        with pytest.raises(MediaError, match=r"write a \.png instead"):
            image.write(tmp_path / f"a.{suffix}", np.zeros((3, 1, 65_600), np.uint8))
