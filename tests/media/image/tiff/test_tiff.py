"""TIFF files of every kind, written here from their samples, against the pixels that they stand for."""

import io
import itertools
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageCms

from narrows.errors import MediaError
from narrows.media import image
from narrows.media.files import MemoryFile

HEIGHT, WIDTH = 21, 37
LZW, DEFLATE, PACKBITS = 5, 8, 32773
CODECS = {1: None, LZW: "tiff_lzw", DEFLATE: "tiff_adobe_deflate", PACKBITS: "packbits"}
FLIP = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def levels(samples: int, bits: int) -> np.ndarray:
    """Random samples (H, W, S) with all levels of `bits`, 0 and white among them."""
    values = np.random.default_rng(bits).integers(0, 1 << bits, (HEIGHT, WIDTH, samples), dtype=np.uint64)
    values[0, 0], values[0, 1] = 0, (1 << bits) - 1
    return values


def packed(values: np.ndarray, bits: int, order: str, kind: str) -> bytes:
    """Rows (R, W, S) as bytes: each row starts at a byte."""
    if kind == "f":
        return values.astype(f"{order}f{bits // 8}").tobytes()
    if bits in (8, 16, 32, 64):
        return values.astype(f"{order}{kind}{bits // 8}").tobytes()
    if bits == 24:
        whole = values.astype(f"{order}u4").reshape(*values.shape, 1).view(np.uint8)
        return (whole[..., :3] if order == "<" else whole[..., 1:]).tobytes()
    rows = values.reshape(len(values), -1)
    digits = (rows[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint64) & np.uint64(1)).astype(np.uint8)
    return np.packbits(digits.reshape(len(rows), -1), axis=1).tobytes()


def differences(values: np.ndarray, bits: int, kind: str) -> np.ndarray:
    """The samples of predictor 2."""
    values = values.astype(f"{kind}{bits // 8}")
    values[:, 1:] -= values[:, :-1].copy()
    return values


def compressed(data: bytes, rows: int, codec: int) -> bytes:
    """A strip of `rows` rows; LZW and PackBits are written by Pillow, as a grey image of the bytes."""
    if codec == DEFLATE:
        return zlib.compress(data)
    if CODECS[codec] is None:
        return data
    file, table = io.BytesIO(), np.frombuffer(data, np.uint8).reshape(rows, -1)
    PILImage.fromarray(table).save(file, "TIFF", compression=CODECS[codec], tiffinfo={278: rows})
    with PILImage.open(file) as found:
        tags = found.tag_v2
        assert len(tags[273]) == 1
        return file.getvalue()[tags[273][0] : tags[273][0] + tags[279][0]]


def tiff(
    values: np.ndarray,
    bits: int,
    photometric: int,
    *,
    kind: str = "u",
    order: str = "<",
    planar: bool = False,
    rows: int | None = None,
    tile: tuple[int, int] | None = None,
    codec: int = 1,
    predictor: int = 1,
    flip: bool = False,
    extra: tuple[int, ...] | None = None,
    tags: dict[int, tuple[int, ...]] | None = None,
    missing: int = 0,
    short: int = 0,
    big: bool = False,
) -> MemoryFile:
    """A TIFF file of samples (H, W, S); the last `missing` strips and `short` bytes of the last one are left out."""
    height, width, samples = values.shape
    rows = rows or height
    pieces = []
    for plane in np.split(values, samples, axis=2) if planar else [values]:
        if tile is None:
            pieces += [plane[first : first + rows] for first in range(0, height, rows)]
        else:
            down, across = -height % tile[0], -width % tile[1]
            full = np.pad(plane, ((0, down), (0, across), (0, 0)), mode="edge")
            places = itertools.product(range(0, height, tile[0]), range(0, width, tile[1]))
            pieces += [full[y : y + tile[0], x : x + tile[1]] for y, x in places]
    parts = []
    for piece in pieces:
        piece = differences(piece, bits, kind) if predictor == 2 else piece
        part = compressed(packed(piece, bits, order, kind), len(piece), codec)
        parts.append(part.translate(FLIP) if flip else part)
    parts = parts[: len(parts) - missing]
    parts[-1] = parts[-1][: len(parts[-1]) - short]
    offset, count = (273, 279) if tile is None else (324, 325)
    entries: dict[int, tuple[int, ...]] = {
        256: (width,),
        257: (height,),
        258: (bits,) * samples,
        259: (codec,),
        262: (photometric,),
        277: (samples,),
        284: (2 if planar else 1,),
        339: ({"u": 1, "i": 2, "f": 3}[kind],) * samples,
        count: tuple(map(len, parts)),
        offset: (0,) * len(parts),
    }
    entries |= {278: (rows,)} if tile is None else {322: (tile[1],), 323: (tile[0],)}
    entries |= {317: (predictor,)} if predictor > 1 else {}
    entries |= {266: (2,)} if flip else {}
    entries |= {338: extra} if extra is not None else {}
    entries |= tags or {}
    number, head, word = ("Q", 16, 8) if big else ("I", 8, 4)
    size = head + struct.calcsize(f"={'Q' if big else 'H'}") + len(entries) * (20 if big else 12) + word
    for written in (False, True):  # first to measure the lists, then with the offsets of the strips
        lists, table = b"", b""
        for tag, numbers in sorted(entries.items()):
            content = struct.pack(f"{order}{len(numbers)}{number}", *numbers)
            if len(content) > word:
                content, lists = struct.pack(f"{order}{number}", size + len(lists)), lists + content
            table += struct.pack(f"{order}HH{number}", tag, 16 if big else 4, len(numbers)) + content
        if not written:
            places = np.cumsum([size + len(lists), *map(len, parts)])[:-1]
            entries[offset] = tuple(map(int, places))
    start = b"II" if order == "<" else b"MM"
    start += struct.pack(f"{order}HHHQ", 43, 8, 0, 16) if big else struct.pack(f"{order}HI", 42, 8)
    amount = struct.pack(f"{order}{'Q' if big else 'H'}", len(entries))
    return MemoryFile("a.tif", start + amount + table + bytes(word) + lists + b"".join(parts))


def pixels(file: MemoryFile) -> np.ndarray:
    """(H, W, C)."""
    return image.read(file).pixels.transpose(1, 2, 0)


def eight(values: np.ndarray, bits: int) -> np.ndarray:
    """Levels of `bits` rounded to 8 bits."""
    return np.floor(values.astype(np.float64) * 255 / ((1 << bits) - 1) + 0.5).astype(np.uint8)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24])
def test_every_depth_kind_and_plane(bits: int, order: str) -> None:
    grey, colour = levels(1, bits), levels(3, bits)
    assert np.array_equal(pixels(tiff(grey, bits, 1, order=order)), eight(grey, bits))
    assert np.array_equal(pixels(tiff(grey, bits, 0, order=order)), 255 - eight(grey, bits))
    for planar in (False, True):
        for layout in ({"rows": 4}, {"tile": (16, 16)}):
            file = tiff(colour, bits, 2, order=order, planar=planar, **layout)
            assert np.array_equal(pixels(file), eight(colour, bits)), (planar, layout)
    if bits < 16:
        palette = np.random.default_rng(1).integers(0, 256, (1 << bits, 3))
        for scale in (256, 257):
            tags = {320: tuple(int(v) * scale for v in palette.T.reshape(-1))}
            assert np.array_equal(pixels(tiff(grey, bits, 3, order=order, tags=tags)), palette[grey[..., 0]])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("bits", [1, 8, 12, 16])
def test_every_compression_layout_and_predictor(codec: int, bits: int) -> None:
    values = levels(3, bits)
    options: list[dict[str, Any]] = [{}, {"flip": True}, {"big": True}]
    if bits in (8, 16) and codec != 1:
        options += [{"predictor": 2}]
    for option, planar, order in itertools.product(options, (False, True), "<>"):
        for layout in ({}, {"rows": 1}, {"rows": 5}, {"tile": (16, 32)}, {"tile": (32, 64)}):
            file = tiff(values, bits, 2, codec=codec, planar=planar, order=order, **option, **layout)
            assert np.array_equal(pixels(file), eight(values, bits)), (option, planar, order, layout)


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("order", "<>")
def test_floats(bits: int, order: str) -> None:
    values = np.random.default_rng(0).random((HEIGHT, WIDTH, 3)).astype(f"f{bits // 8}")
    values[0, 0], values[0, 1] = 0, 1
    for white in (1, 255):
        expected = (values.astype(np.float64).clip(0, 1) * 255).round()
        for codec, planar in itertools.product((1, LZW), (False, True)):
            found = pixels(tiff(values * white, bits, 2, kind="f", order=order, codec=codec, planar=planar))
            assert abs(found - expected).max() <= (white == 255)  # half precision rounds
        found = pixels(tiff(values[..., :1] * white, bits, 0, kind="f", order=order))
        assert abs(255 - expected[..., :1] - found).max() <= (white == 255)


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("samples", [1, 3])
def test_the_predictor_of_floats(bits: int, samples: int) -> None:
    values = np.random.default_rng(0).random((HEIGHT, WIDTH, samples)).astype(f">f{bits // 8}")
    rows = values.reshape(HEIGHT, -1).view(np.uint8).reshape(HEIGHT, -1, bits // 8).transpose(0, 2, 1)
    planes = rows.reshape(HEIGHT, -1, samples).copy()
    planes[:, 1:] -= planes[:, :-1].copy()
    plain = tiff(values, bits, 1 if samples == 1 else 2, kind="f", codec=DEFLATE, tags={317: (3,)})
    data = zlib.compress(planes.tobytes())
    shorter = len(data) - len(compressed(packed(values, bits, "<", "f"), HEIGHT, DEFLATE))
    file = tiff(values, bits, 1 if samples == 1 else 2, kind="f", codec=DEFLATE, tags={317: (3,), 279: (len(data),)})
    start = len(plain.data) + shorter - len(data)
    found = pixels(MemoryFile("a.tif", file.data[:start] + data))
    assert np.array_equal(found, (values.astype(np.float64) * 255).round())


def test_32_bit_integers_up_to_65535() -> None:
    values = levels(1, 16)
    for kind, order in itertools.product("ui", "<>"):
        assert np.array_equal(pixels(tiff(values, 32, 1, kind=kind, order=order)), eight(values, 16))


def test_alpha_of_every_depth() -> None:
    for bits, colours in itertools.product((8, 12, 16), (1, 3)):
        values = levels(colours + 1, bits)
        kind = 1 if colours == 1 else 2
        for planar in (False, True):
            found = image.read(tiff(values, bits, kind, extra=(2,), planar=planar))
            assert np.array_equal(found.pixels.transpose(1, 2, 0), eight(values[..., :-1], bits))
            assert np.array_equal(found.alpha, eight(values[..., -1], bits))
        dropped = image.read(tiff(values, bits, kind, extra=(0,)))
        assert dropped.alpha is None
        assert np.array_equal(dropped.pixels, found.pixels)
        values[..., -1] = (1 << bits) - 1
        assert image.read(tiff(values, bits, kind, extra=(2,))).alpha is None


def test_colours_multiplied_by_alpha_are_divided() -> None:
    values = levels(4, 16)
    values[..., 3] = values[..., 3] // 2 + 32768
    multiplied = values.copy()
    multiplied[..., :3] = values[..., :3] * values[..., 3:] // 65535
    found = image.read(tiff(multiplied, 16, 2, extra=(1,)))
    assert abs(found.pixels.transpose(1, 2, 0).astype(int) - eight(values[..., :3], 16)).max() <= 1
    assert np.array_equal(found.alpha, eight(values[..., 3], 16))


def test_cmyk_ycbcr_and_cielab() -> None:
    four, three = levels(4, 16), levels(3, 8).astype(np.uint8)
    for bits in (8, 16):
        ink = eight(four, 16) if bits == 8 else four
        expected = PILImage.frombytes("CMYK", (WIDTH, HEIGHT), eight(four, 16).tobytes()).convert("RGB")
        for planar in (False, True):
            assert np.array_equal(pixels(tiff(ink, bits, 5, planar=planar)), np.asarray(expected))
    expected = PILImage.frombytes("YCbCr", (WIDTH, HEIGHT), three.tobytes()).convert("RGB")
    for planar in (False, True):
        file = tiff(three, 8, 6, tags={530: (1, 1)}, planar=planar)
        assert np.array_equal(pixels(file), np.asarray(expected))
    colours = np.array([[[255, 0, 0], [0, 128, 0], [128, 128, 128], [20, 40, 200]]], np.uint8)
    lab = ImageCms.profileToProfile(
        PILImage.fromarray(colours),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    assert lab is not None
    assert abs(pixels(tiff(np.asarray(lab), 8, 8)).astype(int) - colours).max() <= 12  # of steps in b


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "CMYK", "LAB", "I;16", "RGBA", "LA"])
def test_files_of_pillow(mode: str) -> None:
    grey = PILImage.fromarray(levels(1, 8)[..., 0].astype(np.uint8))
    source = grey if mode in ("L", "1", "I;16") else PILImage.merge("RGB", [grey, grey.rotate(180), grey])
    source = source.convert("RGB" if mode == "LAB" else mode)
    if mode in ("RGBA", "LA"):
        source.putalpha(grey)
    fax = ("group3", "group4") if mode == "1" else ()
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", *fax):
        file = io.BytesIO()
        source.save(file, "TIFF", compression=compression)
        found = image.read(MemoryFile("a.tif", file.getvalue()))
        if mode != "CMYK" and mode != "I;16":
            kept = np.asarray(source.convert("L" if len(found.pixels) == 1 else "RGB")).reshape(HEIGHT, WIDTH, -1)
            assert np.array_equal(found.pixels.transpose(1, 2, 0), kept)
        if mode in ("RGBA", "LA"):
            assert np.array_equal(found.alpha, np.asarray(grey))


@pytest.mark.parametrize("mode", ["RGB", "YCbCr", "L", "CMYK"])
def test_jpeg_inside_of_tiff(mode: str) -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    smooth = np.stack((x * 6, y * 10, x * 3 + y * 4), -1).astype(np.uint8)
    source = PILImage.fromarray(smooth).convert(mode)
    file = io.BytesIO()
    source.save(file, "TIFF", compression="jpeg", quality=95)
    found, kind = pixels(MemoryFile("a.tif", file.getvalue())), "L" if mode == "L" else "RGB"
    expected = np.asarray(source.convert(kind)).reshape(HEIGHT, WIDTH, -1)
    assert abs(found.astype(int) - expected).mean() < 5


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (tiff(levels(1, 8), 8, 1, kind="i"), "signed integers of 8 bits"),
        (tiff(levels(1, 15), 16, 1, kind="i"), "signed integers of 16 bits"),
        (tiff(levels(1, 8), 8, 4), "transparency mask"),
        (tiff(levels(3, 8), 8, 9), "ICCLab"),
        (tiff(levels(1, 8), 8, 32803), "colour filter array"),
        (tiff(levels(3, 8), 8, 6), "subsampled YCbCr"),
        (tiff(levels(3, 8), 8, 6, tags={530: (1, 1), 532: (16, 1, 235, 1)}), "damaged"),
        (tiff(levels(3, 16), 16, 8), "CIELab of samples of 16 bits"),
        (tiff(levels(2, 8), 8, 1), "1 samples of unknown meaning"),
        (tiff(levels(3, 8), 8, 2, tags={258: (8, 8, 5)}), "different bits per sample"),
        (tiff(levels(1, 8), 8, 1, tags={259: (6,)}), "compression 6"),
        (tiff(levels(1, 17), 32, 1), "from 0 to 65535"),
        (tiff(levels(1, 8) - np.float64(9), 32, 1, kind="i"), "from 0 to 65535"),
        (tiff(levels(1, 17), 32, 1, kind="f"), "from 0 to 1"),
    ],
)
def test_other_kinds_are_refused_by_name(file: MemoryFile, message: str) -> None:
    with pytest.raises(MediaError, match=message) as caught:
        image.read(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("layout", [{"rows": 4}, {"tile": (16, 16)}, {}])
def test_missing_and_short_strips_are_errors(codec: int, planar: bool, layout: dict[str, Any]) -> None:
    values = levels(3, 8)
    for missing in (1, 2) if layout or planar else ():
        with pytest.raises(MediaError, match=r"missing|are there"):
            image.read(tiff(values, 8, 2, codec=codec, planar=planar, missing=missing, **layout))
    for short in (12, 40):  # more than the end marker of LZW, or the checksum of Deflate
        with pytest.raises(MediaError, match="damaged"):
            image.read(tiff(values, 8, 2, codec=codec, planar=planar, short=short, **layout))


@pytest.mark.parametrize("compression", ["group3", "group4", "jpeg"])
def test_fax_and_jpeg_strips_that_end_early(tmp_path: Path, compression: str) -> None:
    random = np.random.default_rng(0).integers(0, 256, (60, 80), np.uint8)
    source, file = PILImage.fromarray(random), io.BytesIO()
    (source if compression == "jpeg" else source.convert("1")).save(file, "TIFF", compression=compression)
    entry = struct.pack("<HHI", 279, 4, 1)
    place = file.getvalue().index(entry) + len(entry)
    (size,) = struct.unpack_from("<I", file.getvalue(), place)
    for part in np.linspace(size // 4, size - 20, 7).astype(int):
        data = bytearray(file.getvalue())
        struct.pack_into("<I", data, place, int(part))
        with pytest.raises(MediaError, match="damaged"):
            image.read(MemoryFile("a.tif", bytes(data)))
