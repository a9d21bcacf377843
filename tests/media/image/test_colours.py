"""Depths and colours of PNG, PPM and other files, against their pixels."""

import io
import itertools
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image as PILImage

from narrows.errors import MediaError
from narrows.media import image
from narrows.media.files import MemoryFile

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(values: np.ndarray, bits: int, kind: int, chunks: tuple[tuple[bytes, bytes], ...] = ()) -> MemoryFile:
    """A PNG file of samples (H, W, C) of `bits`, with further chunks before the data."""
    height, width, channels = values.shape
    assert channels == CHANNELS[kind]
    if bits == 16:
        rows = [row.astype(">u2").tobytes() for row in values]
    else:
        digits = (values[..., None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8)
        rows = [np.packbits(row.reshape(-1)).tobytes() for row in digits]
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    data += b"".join(chunk(name, content) for name, content in chunks)
    data += chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))) + chunk(b"IEND", b"")
    return MemoryFile("a.png", data)


def random(channels: int, bits: int) -> np.ndarray:
    return np.random.default_rng(bits).integers(0, 1 << bits, (23, 31, channels))


def eight(values: np.ndarray, bits: int) -> np.ndarray:
    return np.floor(values * 255 / ((1 << bits) - 1) + 0.5).astype(np.uint8)


@pytest.mark.parametrize(
    ("kind", "bits"),
    [*itertools.product([GREY], [1, 2, 4, 8, 16]), *itertools.product([RGB, GREY_ALPHA, RGB_ALPHA], [8, 16])],
)
def test_every_depth_of_png_is_rounded(kind: int, bits: int) -> None:
    values = random(CHANNELS[kind], bits)
    found = image.read(png(values, bits, kind))
    colours = 1 if kind in (GREY, GREY_ALPHA) else 3
    assert np.array_equal(found.pixels.transpose(1, 2, 0), eight(values[..., :colours], bits))
    assert image.probe(png(values, bits, kind)).channels == colours
    if kind in (GREY_ALPHA, RGB_ALPHA):
        assert np.array_equal(found.alpha, eight(values[..., -1], bits))
        values[..., -1] = (1 << bits) - 1
        opaque = image.read(png(values, bits, kind))
        assert opaque.alpha is None
        assert np.array_equal(opaque.pixels, found.pixels)


@pytest.mark.parametrize("kind", [GREY, RGB])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_colour_of_png_has_the_depth_of_the_file(kind: int, bits: int) -> None:
    if kind == RGB and bits < 8:
        return
    values = random(CHANNELS[kind], bits)
    values[3] = values[0, 0]
    values[4:6] = [[[0]], [[(1 << bits) - 1]]]
    for key in values[3:6, 0]:
        found = image.read(png(values, bits, kind, ((b"tRNS", struct.pack(f">{len(key)}H", *key)),)))
        assert np.array_equal(found.alpha, np.where((values == key).all(-1), 0, 255))
        assert np.array_equal(found.pixels.transpose(1, 2, 0), eight(values, bits))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_with_alpha(bits: int) -> None:
    values, size = random(1, bits), 1 << bits
    palette = np.random.default_rng(0).integers(0, 256, (size, 3), np.uint8)
    alpha = np.random.default_rng(1).integers(0, 256, size, np.uint8)
    chunks = ((b"PLTE", palette.tobytes()), (b"tRNS", alpha.tobytes()))
    found = image.read(png(values, bits, PALETTE, chunks))
    assert np.array_equal(found.alpha, alpha[values[..., 0]])
    visible = alpha[values[..., 0]] > 0
    assert np.array_equal(found.pixels.transpose(1, 2, 0)[visible], palette[values[..., 0]][visible])
    assert image.read(png(values, bits, PALETTE, chunks[:1])).alpha is None


def srgb(light: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255


def gamma(value: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(value * 100_000))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", [GREY, RGB, RGB_ALPHA])
def test_gamma_is_applied_if_it_is_not_that_of_srgb(kind: int, bits: int) -> None:
    values, colours = random(CHANNELS[kind], bits), 1 if kind == GREY else 3
    fractions = values[..., :colours] / ((1 << bits) - 1)
    for exponent in (1.0, 0.625):
        found = image.read(png(values, bits, kind, (gamma(exponent),)))
        expected = srgb(fractions ** (1 / exponent)).transpose(2, 0, 1)
        assert abs(found.pixels - expected).max() <= 0.5001
        if kind == RGB_ALPHA:
            assert np.array_equal(found.alpha, eight(values[..., 3], bits))
    plain = image.read(png(values, bits, kind)).pixels
    code_points = b"cICP", bytes([1, 13, 0, 1])
    for chunks in ((gamma(0.45455),), (gamma(1), (b"sRGB", b"\0")), (gamma(1), code_points)):
        assert np.array_equal(image.read(png(values, bits, kind, chunks)).pixels, plain)


def test_colours_that_are_not_converted_are_warned_of() -> None:
    values = random(3, 8)
    wide = struct.pack(">8I", 31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600)  # BT.2020
    usual = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    cases = [
        ((), ""),
        (((b"cICP", bytes([9, 16, 0, 1])),), "BT.2020 with PQ"),
        (((b"cICP", bytes([12, 13, 0, 1])),), "Display P3"),
        (((b"cICP", bytes([1, 13, 0, 1])),), ""),
        (((b"cHRM", wide),), "other primaries"),
        (((b"cHRM", usual),), ""),
        (((b"cHRM", wide), (b"sRGB", b"\0")), ""),
    ]
    for chunks, expected in cases:
        warnings = image.probe(png(values, 8, RGB, chunks)).warnings
        assert len(warnings) == bool(expected)
        assert expected in "".join(warnings)


def test_hdr_of_avif_and_gain_maps_of_jpeg_are_warned_of() -> None:
    file = io.BytesIO()
    PILImage.new("RGB", (16, 16), "teal").save(file, "AVIF")
    data = bytearray(file.getvalue())
    place = data.index(b"colrnclx") + 8
    assert image.probe(MemoryFile("a", bytes(data))).warnings == ()
    data[place : place + 4] = bytes([0, 9, 0, 16])
    assert image.probe(MemoryFile("a", bytes(data))).warnings == (
        "colours are BT.2020 with PQ (HDR); they are read as if they were sRGB",
    )
    file = io.BytesIO()
    xmp = b'<x:xmpmeta xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"/>'
    PILImage.new("RGB", (16, 16), "teal").save(file, "JPEG", xmp=xmp)
    assert image.probe(MemoryFile("a", file.getvalue())).warnings == ("its gain map for HDR displays is dropped",)


def test_an_orientation_behind_the_data_of_png() -> None:
    exif = PILImage.Exif()
    exif[0x0112] = 6
    data = png(random(3, 8), 8, RGB).data
    end = data.rindex(b"IEND") - 4
    file = MemoryFile("a.png", data[:end] + chunk(b"eXIf", exif.tobytes()[6:]) + data[end:])
    assert (image.probe(file).height, image.probe(file).width) == (31, 23)
    assert image.read(file).pixels.shape == (3, 31, 23)


def test_png_is_inspected_without_its_data() -> None:
    file = png(random(3, 8), 8, RGB)
    assert image.probe(MemoryFile("a.png", file.data[:-200])).pixels == 23 * 31


@pytest.mark.parametrize("levels", [1, 255, 1000, 65535])
def test_ppm_and_pgm(levels: int) -> None:
    values = np.random.default_rng(0).integers(0, levels + 1, (9, 14, 3))
    kind = "u1" if levels < 256 else ">u2"
    exact = values * 255 / levels
    for colours, name in ((3, b"P6"), (1, b"P5")):
        head = b"%s\n# comment\n14 9\n%d\n" % (name, levels)
        found = image.read(MemoryFile("a", head + values[..., :colours].astype(kind).tobytes()))
        assert abs(found.pixels.transpose(1, 2, 0) - exact[..., :colours]).max() <= 0.51
    text = b"P3\n14 9\n%d\n" % levels + b" ".join(b"%d" % value for value in values.ravel())
    assert abs(image.read(MemoryFile("a", text)).pixels.transpose(1, 2, 0) - exact).max() <= 0.51


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a\xfa", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\0\0\1\0\1\0", "an icon"),
        (b"8BPS\0\1", "a Photoshop file"),
    ],
)
def test_other_formats_are_refused_by_name(start: bytes, name: str) -> None:
    with pytest.raises(MediaError, match=rf"expected an image .*, got {name}.* in 'a'; convert it to PNG"):
        image.probe(MemoryFile("a", start + bytes(100)))


def test_heic_without_its_package_names_the_package() -> None:
    code = """
import sys
sys.modules["pillow_heif"] = None
from narrows.errors import MediaError
from narrows.media import image
from narrows.media.files import MemoryFile
try:
    image.probe(MemoryFile("a.heic", b"\\0\\0\\0\\x18ftypheic" + bytes(100)))
except MediaError as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.endswith("got HEIC in 'a.heic'; pip install 'narrows[heic]'\n")


def test_heic() -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs pillow-heif")
    y, x = np.mgrid[:64, :96]
    smooth = np.stack((2 * x, 4 * y, 255 - 2 * x), -1).clip(0, 255).astype(np.uint8)
    for mode in ("RGB", "RGBA"):
        source = PILImage.fromarray(smooth)
        if mode == "RGBA":
            source.putalpha(PILImage.fromarray((x * 2).astype(np.uint8)))
        file = io.BytesIO()
        pillow_heif.from_pillow(source).save(file, quality=90)
        found = image.read(MemoryFile("a.heic", file.getvalue()))
        assert abs(found.pixels.transpose(1, 2, 0).astype(int) - smooth).mean() < 3
        assert (found.alpha is not None) == (mode == "RGBA")
        with pytest.raises(MediaError):
            image.read(MemoryFile("a.heic", file.getvalue()[: len(file.getvalue()) // 2]))
