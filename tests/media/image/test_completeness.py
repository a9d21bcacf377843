"""Images that end early although their files look whole, and whole images of many settings."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageFile

from narrows.errors import MediaError
from narrows.media import image
from narrows.media.files import MemoryFile

JPEG_OPTIONS = [
    {},
    {"quality": 95, "subsampling": 0},
    {"quality": 90, "subsampling": 1, "optimize": True},
    {"progressive": True},
    {"restart_marker_rows": 1},
    {"restart_marker_blocks": 3, "subsampling": 2},
    {"progressive": True, "restart_marker_blocks": 5},
]


@pytest.fixture(scope="module")
def photo() -> PILImage.Image:
    """Smooth shapes with some noise, of sides that are no multiples of 8."""
    y, x = np.mgrid[:91, :123]
    waves = [127 + 80 * np.sin(x / a + y / b) for a, b in ((9, 21), (30, 7), (15, 15))]
    noise = np.random.default_rng(0).normal(0, 6, (91, 123, 3))
    return PILImage.fromarray((np.stack(waves, -1) + noise).clip(0, 255).astype(np.uint8))


def saved(source: PILImage.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    source.save(file, format, **options)
    return file.getvalue()


def read(data: bytes) -> np.ndarray:
    return image.read(MemoryFile("a", data)).pixels


def refused(data: bytes, reason: str = "damaged or cut short") -> bool:
    """Whether an image is refused in one line."""
    try:
        read(data)
    except MediaError as error:
        return reason in str(error) and "\n" not in str(error)
    return False


@pytest.mark.parametrize("options", JPEG_OPTIONS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_scans_that_are_cut_before_an_end_marker(photo: PILImage.Image, mode: str, options: dict) -> None:
    source = photo.convert(mode)
    for size in ((123, 91), (8, 8), (1, 1), (17, 3)):
        read(saved(source.resize(size), "JPEG", **options))
    data = saved(source, "JPEG", **options)
    start = data.index(b"\xff\xda") + 2
    for place in np.linspace(start, len(data) - 20, 40).astype(int):
        assert refused(data[:place].rstrip(b"\xff") + b"\xff\xd9"), place


def test_jpeg_without_a_scan_or_a_restart_interval(photo: PILImage.Image) -> None:
    data = saved(photo, "JPEG", progressive=True)
    scans = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    for place in scans[1:]:
        assert refused(data[:place] + b"\xff\xd9")
    data = saved(photo, "JPEG", restart_marker_rows=1)
    markers = [place for place in range(len(data)) if data[place] == 0xFF and 0xD0 <= data[place + 1] <= 0xD7]
    assert len(markers) > 3
    assert refused(data[: markers[2]] + b"\xff\xd9")
    assert refused(data[: markers[2]] + data[markers[3] :])


def test_jpeg_with_bytes_between_and_behind_its_segments(photo: PILImage.Image) -> None:
    data = saved(photo, "JPEG")
    expected = read(data)
    assert np.array_equal(read(data + b"\0" * 100), expected)
    assert np.array_equal(read(data[:2] + b"\xff\xff\xff" + data[2:]), expected)  # fill bytes
    thumbnail = saved(photo.resize((16, 12)), "JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", len(thumbnail) + 2) + thumbnail  # scans inside of a segment
    assert np.array_equal(read(data[:2] + comment + data[2:]), expected)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_fewer_rows(data: bytes, keep: Callable[[bytes], bytes]) -> bytes:
    """A PNG file whose uncompressed rows are changed by `keep`."""
    place, rows, head = 8, b"", b""
    while place < len(data):
        length, name = struct.unpack(">I", data[place : place + 4])[0], data[place + 4 : place + 8]
        content = data[place + 8 : place + 8 + length]
        if name == b"IDAT":
            rows += content
        elif name != b"IEND":
            head += chunk(name, content)
        place += 12 + length
    return data[:8] + head + chunk(b"IDAT", zlib.compress(keep(zlib.decompress(rows)))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
def test_png_rows_that_are_missing(photo: PILImage.Image, mode: str) -> None:
    source = photo.convert("L" if mode in ("LA", "I;16") else "RGB" if mode == "RGBA" else mode)
    if mode in ("LA", "RGBA"):
        source.putalpha(photo.convert("L"))
    if mode == "I;16":
        source = PILImage.fromarray(np.asarray(source).astype(np.uint16) * 257)
    data = saved(source, "PNG")
    assert np.array_equal(read(with_fewer_rows(data, lambda rows: rows)), read(data))
    assert np.array_equal(read(with_fewer_rows(data, lambda rows: rows + bytes(50))), read(data))
    for keep in (lambda rows: rows[: len(rows) // 2], lambda rows: rows[:-1], lambda rows: b""):
        assert refused(with_fewer_rows(data, keep))


def interlaced(pixels: np.ndarray) -> bytes:
    """A PNG file (H, W, 3) with the seven passes of Adam7."""
    rows = b""
    for x, y, step_x, step_y in (
        (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
    ):  # fmt: skip
        part = pixels[y::step_y, x::step_x]
        rows += b"".join(b"\0" + row.tobytes() for row in part) if part.size else b""
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(91, 123), (1, 1), (3, 2), (8, 5)])
def test_interlaced_png(photo: PILImage.Image, size: tuple[int, int]) -> None:
    pixels = np.asarray(photo)[: size[0], : size[1]]
    data = interlaced(pixels)
    assert np.array_equal(read(data).transpose(1, 2, 0), pixels)
    assert refused(with_fewer_rows(data, lambda rows: rows[:-1]))


def test_png_with_changed_bytes_or_without_a_checksum(photo: PILImage.Image) -> None:
    data = saved(photo, "PNG")
    start, end = data.index(b"IDAT") + 4, data.rindex(b"IEND") - 8
    for place in np.linspace(start, end - 5, 30).astype(int):
        changed = bytearray(data)
        changed[place] ^= 4
        assert refused(bytes(changed))
    assert refused(data[: end + 1])


@pytest.mark.parametrize("colours", [2, 7, 256])
def test_gif_codes_that_end_early(photo: PILImage.Image, colours: int) -> None:
    source = photo.quantize(colours, dither=PILImage.Dither.NONE)
    data = saved(source, "GIF")
    assert np.array_equal(read(data).transpose(1, 2, 0), np.asarray(source.convert("RGB")))
    for interlace in (0, 1):
        data = saved(source, "GIF", interlace=interlace)
        read(data)
        start = data.index(b"\x2c\0\0\0\0") + 11
        blocks, place = [], start
        while data[place]:
            blocks.append(data[place + 1 : place + 1 + data[place]])
            place += 1 + data[place]
        content = b"".join(blocks)
        for part in (0, 1, len(content) // 2, len(content) - 3):
            cut = content[:part]
            pieces = b"".join(bytes([len(cut[i : i + 255])]) + cut[i : i + 255] for i in range(0, part, 255))
            assert refused(data[:start] + pieces + b"\0;")


def test_a_large_gif_and_an_animation(photo: PILImage.Image) -> None:
    big = photo.resize((600, 500)).quantize(256)
    for data in (saved(big, "GIF"), saved(big, "GIF", save_all=True, append_images=[big.rotate(180)])):
        assert np.array_equal(read(data).transpose(1, 2, 0), np.asarray(big.convert("RGB")))


def webp_cut(data: bytes, fraction: float) -> bytes:
    """A WebP file with a shorter bitstream and the lengths that belong to it."""
    place, parts = 12, b""
    while place < len(data):
        name, length = data[place : place + 4], struct.unpack("<I", data[place + 4 : place + 8])[0]
        content = data[place + 8 : place + 8 + length]
        content = content[: int(length * fraction)] if name in (b"VP8 ", b"VP8L", b"ALPH") else content
        parts += name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) & 1)
        place += 8 + length + (length & 1)
    return b"RIFF" + struct.pack("<I", len(parts) + 4) + b"WEBP" + parts


@pytest.mark.parametrize("options", [{"quality": 80}, {"lossless": True}, {"quality": 30, "method": 0}])
def test_webp_bitstreams_that_end_early(photo: PILImage.Image, options: dict) -> None:
    data = saved(photo, "WEBP", **options)
    assert np.array_equal(read(webp_cut(data, 1)), read(data))
    for fraction in np.linspace(0.05, 0.97, 20):
        assert refused(webp_cut(data, fraction), "'a'")


@pytest.mark.parametrize("format", ["BMP", "PPM", "AVIF", "TIFF", "PNG", "JPEG", "GIF", "WEBP"])
def test_files_that_are_cut(photo: PILImage.Image, format: str) -> None:
    data = saved(photo.convert("P") if format == "GIF" else photo, format)
    for place in np.linspace(1, len(data) - 60, 25).astype(int):
        assert refused(data[:place], "'a'")


def test_the_setting_of_pillow_for_truncated_files_is_off() -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_outside_of_a_small_first_frame_a_gif_is_transparent(photo: PILImage.Image) -> None:
    data = bytearray(saved(photo.resize((20, 10)).quantize(16), "GIF"))
    data[6:10] = struct.pack("<HH", 30, 16)  # a larger screen
    place = data.index(b"\x2c\0\0\0\0")
    data[place : place + 5] = b"\x2c" + struct.pack("<HH", 4, 3)  # on which the frame is moved
    found = image.read(MemoryFile("a", bytes(data)))
    assert found.pixels.shape == (3, 16, 30)
    assert found.alpha is not None
    expected = np.zeros((16, 30), np.uint8)
    expected[3:13, 4:24] = 255
    assert np.array_equal(found.alpha, expected)
