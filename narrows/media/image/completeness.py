"""Finds images whose data end early although the file looks whole: their decoders fill the rest with black or grey.

PNG and GIF: the pixels that the compressed data hold are counted. JPEG: its scans and restart intervals are counted,
and the image is decoded again with bytes appended to each of them, which only an incomplete one reads.
"""

import io
import re
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from PIL import Image as PILImage

PAD = b"\xb5\x2d" * 64  # appended to entropy-coded segments; decoders put zeros in place of missing bits
STRIP_ROWS = 64
INFLATE_STEP = 1 << 18  # bytes
ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # x, y, steps
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
MARKER = re.compile(rb"\xff+[^\x00\xff]")  # inside entropy-coded data, FF 00 is a byte FF
SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start of frame; the others define tables
ARITHMETIC = {0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
RST0, RST7, EOI, SOS, DRI, TEM = 0xD0, 0xD7, 0xD9, 0xDA, 0xDD, 0x01


class IncompleteImage(ValueError):
    """An image whose data end before its last pixel."""


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, position of the content and length of each chunk of a PNG file, up to IEND or the end of the file."""
    size, place = file.seek(0, io.SEEK_END), 8
    while place + 8 <= size:
        file.seek(place)
        head = file.read(8)
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        yield name, place + 8, length
        if name == b"IEND":
            return
        place += 12 + length


def check_png(file: BinaryIO) -> None:
    """Raise IncompleteImage if the image data of a PNG file have too few rows or a wrong checksum."""
    needed, inflater = 0, zlib.decompressobj()
    for name, place, length in png_chunks(file):
        file.seek(place)
        if name == b"IHDR":
            needed = _png_bytes(file.read(13))
        elif name == b"IDAT":
            data = file.read(length)
            checksum = file.read(4)
            if zlib.crc32(data, zlib.crc32(name)) != int.from_bytes(checksum, "big") or len(checksum) < 4:
                raise IncompleteImage("a chunk fails its checksum")
            while data and needed > 0 and not inflater.eof:
                needed -= len(inflater.decompress(data, INFLATE_STEP))
                data = inflater.unconsumed_tail
    if needed > 0:
        raise IncompleteImage("rows are missing")


def _png_bytes(header: bytes) -> int:
    """Bytes of all rows before compression, from the content of IHDR."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * PNG_CHANNELS.get(header[9], 1)
    total = 0
    for x, y, step_x, step_y in ADAM7 if header[12] else ((0, 0, 1, 1),):
        columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total


def check_jpeg(data: bytes, image: PILImage.Image, decode: Callable[[bytes], PILImage.Image]) -> None:
    """Raise IncompleteImage if a scan, a restart interval or the end of one is missing from a JPEG file.

    Args:
        data: the file.
        image: what `decode` returns for it.
        decode: decodes a JPEG file.
    """
    padded = _padded_jpeg(data)
    if padded is not None and not _equal(decode(padded), image):
        raise IncompleteImage("a scan ends early")


def _equal(a: PILImage.Image, b: PILImage.Image) -> bool:
    """Whether two images of one mode have equal pixels; compared in strips, for the sake of memory."""
    boxes = [(0, top, a.width, min(top + STRIP_ROWS, a.height)) for top in range(0, a.height, STRIP_ROWS)]
    return a.size == b.size and all(a.crop(box).tobytes() == b.crop(box).tobytes() for box in boxes)


def _padded_jpeg(data: bytes) -> bytes | None:
    """The file with bytes appended to every entropy-coded segment.

    None for arithmetic coding, which reads past the end of its segments.

    Raises IncompleteImage if scans or restart intervals are missing.
    """
    parts, place, interval, frame, coded = [data[:2]], 2, 0, _Frame(b""), _Coefficients()
    while True:
        match = re.compile(rb"\xff+[^\xff]").match(data, place)
        if match is None:
            match = MARKER.search(data, place)  # bytes between segments, which decoders skip
            if match is None:
                raise IncompleteImage("the end marker is missing")
        marker, start = match[0][-1], match.end()
        if marker == EOI:
            break
        if marker == TEM or RST0 <= marker <= RST7:
            place = start
            continue
        stop = start + int.from_bytes(data[start : start + 2], "big")
        content = data[start + 2 : stop]
        parts.append(data[place:stop])
        place = stop
        if marker in SOF:
            if marker in ARITHMETIC:
                return None
            frame = _Frame(content)
        elif marker == DRI:
            interval = int.from_bytes(content[:2], "big")
        elif marker == SOS:
            scan = _Scan(content)
            coded.add(scan)
            place, segments = _pad_scan(data, place, parts)
            expected = -(-frame.units(scan.components) // interval) if interval else 1
            if segments < expected:
                raise IncompleteImage(f"a scan has {segments} of {expected} restart intervals")
    if not coded.complete(frame.components):
        raise IncompleteImage("scans are missing")
    return b"".join([*parts, data[place:]])


def _pad_scan(data: bytes, place: int, parts: list[bytes]) -> tuple[int, int]:
    """Append the segments of a scan to `parts`, padded; returns the place of its end and the number of segments."""
    segments = 0
    while True:
        segments += 1
        match = MARKER.search(data, place)
        if match is None:
            raise IncompleteImage("the end marker is missing")
        parts += [data[place : match.start()], PAD]
        place = match.start()
        if not RST0 <= match[0][-1] <= RST7:
            return place, segments
        parts.append(match[0])
        place = match.end()


class _Scan:
    """Header of a scan: components, coefficients from `first` to `last`, and the lowest bit that is coded."""

    def __init__(self, content: bytes) -> None:
        number = content[0] if content else 0
        if len(content) < 4 + 2 * number or not number:
            raise IncompleteImage("the header of a scan is too short")
        self.components = tuple(content[1 : 1 + 2 * number : 2])
        self.first, self.last, approximation = content[1 + 2 * number : 4 + 2 * number]
        self.low_bit = approximation & 15


class _Frame:
    """Header of a frame: its size, and the sampling factors of its components."""

    def __init__(self, content: bytes) -> None:
        self.height, self.width = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
        self.components = {
            content[i]: (content[i + 1] >> 4 or 1, content[i + 1] & 15 or 1) for i in range(6, len(content) - 2, 3)
        }

    def units(self, components: tuple[int, ...]) -> int:
        """Number of MCUs of a scan (ITU-T T.81, A.2): blocks of a single component, or groups of blocks of several."""
        blocks = 1
        for axis, size in enumerate((self.width, self.height)):
            largest = max((factors[axis] for factors in self.components.values()), default=1)
            if len(components) == 1:
                factor = self.components.get(components[0], (1, 1))[axis]
                blocks *= _divided(_divided(size * factor, largest), 8)
            else:
                blocks *= _divided(size, 8 * largest)
        return blocks


def _divided(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


class _Coefficients:
    """The lowest coded bit of each coefficient of each component."""

    def __init__(self) -> None:
        self._low_bits: dict[int, list[int]] = {}

    def add(self, scan: _Scan) -> None:
        """Note what a scan codes."""
        for component in scan.components:
            bits = self._low_bits.setdefault(component, [99] * 64)
            bits[scan.first : scan.last + 1] = [scan.low_bit] * len(bits[scan.first : scan.last + 1])

    def complete(self, components: dict[int, tuple[int, int]]) -> bool:
        """Whether all bits of all coefficients are coded."""
        return all(not any(self._low_bits.get(component, [99])) for component in components)


def check_gif(data: bytes) -> None:
    """Raise IncompleteImage if the first image of a GIF file has fewer pixels than its size (GIF89a, appendix F)."""
    place = 13 + _colours(data[10])
    while data[place] != 0x2C:  # up to the first image
        place = _blocks(data, place + 2)[1]
    width, height = (
        int.from_bytes(data[place + 5 : place + 7], "little"),
        int.from_bytes(data[place + 7 : place + 9], "little"),
    )
    place += 10 + _colours(data[place + 9])
    if _lzw_pixels(_blocks(data, place + 1)[0], data[place], width * height) < width * height:
        raise IncompleteImage("pixels are missing")


def _colours(flags: int) -> int:
    """Bytes of a colour table."""
    return 3 << (flags & 7) + 1 if flags & 128 else 0


def _blocks(data: bytes, place: int) -> tuple[bytes, int]:
    """The content of a list of blocks, and the place behind it."""
    parts = []
    while place < len(data) and data[place]:
        parts.append(data[place + 1 : place + 1 + data[place]])
        place += 1 + data[place]
    return b"".join(parts), place + 1


def _lzw_pixels(data: bytes, code_bits: int, needed: int) -> int:
    """Number of pixels that LZW data hold; counting stops at `needed`."""
    clear, pixels, value, bits = 1 << code_bits, 0, 0, 0
    first = [1] * clear + [0, 0]
    lengths, width, previous = first.copy(), code_bits + 1, 0  # `previous`: pixels of the last code
    for byte in data:
        value |= byte << bits
        bits += 8
        while bits >= width:
            code, value, bits = value & (1 << width) - 1, value >> width, bits - width
            if code == clear:
                lengths, width, previous = first.copy(), code_bits + 1, 0
                continue
            if code == clear + 1:
                return pixels
            if previous and len(lengths) < 4096:
                lengths.append(previous + 1)
                if len(lengths) == 1 << width and width < 12:
                    width += 1
            if code >= len(lengths):
                return pixels
            previous = lengths[code]
            pixels += previous
            if pixels >= needed:
                return pixels
    return pixels
