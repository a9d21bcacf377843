"""The end of the audio that the container declares, read from its headers without decoding.

A file that is shorter was cut. Decoders rarely report that: they return the samples that are there.

    RIFF 400036 WAVE  fmt …  data 400000 ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒╎ ─ ─ ─ ─ ┤ declared end
                                                          └ the file ends here
"""

import struct
from typing import BinaryIO

_MAX_CHUNKS = 1_000_000  # chunks, pages or boxes that are read before giving up: more than 4 GB of Ogg pages


def declared_end(file: BinaryIO, size: int) -> int | None:
    """The offset in bytes at which the audio ends, as the container declares it; None if it does not.

    Understands WAV, RF64, W64, AIFF, AU, CAF, MP4, Matroska/WebM, Ogg, and MP3 with a Xing header. Programs that write
    to a pipe leave a placeholder for the length, which counts as none.

    Args:
        file: open for reading; its position changes.
        size: of the file, in bytes.
    """
    head = _at(file, 0, 40)
    match head[:4]:
        case b"RIFF" | b"RIFX":
            return _wave(file, size, "<4sI" if head[:4] == b"RIFF" else ">4sI")
        case b"RF64" | b"BW64":
            return _wave(file, size, "<4sI", long=_number(head, 28, "<Q") if head[12:16] == b"ds64" else None)
        case b"FORM":
            start, length = _chunk(file, size, 12, ">4sI", b"SSND", pad=True)
            return start + length if 0 < length < 0xFFFFFFFF else None
        case b"caff":
            start, length = _chunk(file, size, 8, ">4sq", b"data", pad=False)
            return start + length if length > 0 else None
        case b"riff":
            total = _number(head, 16, "<q")
            return total if total > 0 else None
        case b".snd":
            start, length = _number(head, 4, ">I"), _number(head, 8, ">I")
            return start + length if length < 0xFFFFFFFF else None
        case b"OggS":
            return _ogg_pages(file)[1]
        case b"\x1aE\xdf\xa3":
            return _matroska(file)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
        return _boxes(file, size)
    return _xing(file) if mpeg_format(file) == "mp3" else None


def mpeg_format(file: BinaryIO, at: int = 0) -> str | None:
    """The kind of the MPEG frame at an offset of the file, after an ID3 tag if there is one: "mp3", "aac" or None."""
    sync = _number(_at(file, _after_id3(file, at), 2), 0, ">H")
    if sync >> 5 != 0x7FF:  # every frame begins with eleven ones
        return None
    return "mp3" if sync & 6 else "aac"  # two bits for the layer of MPEG audio, zero for AAC


def ogg_streams(file: BinaryIO) -> int:
    """The number of streams in an Ogg file, consecutive or interleaved; 0 for another file."""
    return _ogg_pages(file)[0]


def _ogg_pages(file: BinaryIO) -> tuple[int, int | None]:
    """The number of pages that begin a stream, and the offset of the end of the last page."""
    streams = at = 0
    end = None
    for _ in range(_MAX_CHUNKS):
        page = _at(file, at, 27 + 255)
        if page[:4] != b"OggS":
            break  # the end of the file, other data, or a damaged page: the decoder decides
        streams += page[5:6] == b"\x02"
        table = page[27 : 27 + _number(page, 26, "B")]
        at = end = at + 27 + _number(page, 26, "B") + sum(table)
    return streams, end


def _wave(file: BinaryIO, size: int, header: str, long: int | None = None) -> int | None:
    """WAV: 32-bit lengths. RF64 has a 64-bit length `long` in front, used where the short one is all ones."""
    start, length = _chunk(file, size, 12, header, b"data", pad=True)
    if not start:
        return None
    if long is not None and length == 0xFFFFFFFF:
        length = long
    elif _is_placeholder(length):
        return None
    elif length == 0 and _number(_at(file, 4, 4), 0, header[0] + "I") + 8 != size:
        return None  # placeholders; in a file that is really empty the other length is right
    block = _number(_at(file, _chunk(file, size, 12, header, b"fmt ", pad=True)[0] + 12, 2), 0, header[0] + "H")
    return start + length - length % (block or 1)


def _is_placeholder(length: int) -> bool:
    """Whether a length is a placeholder: all ones (ffmpeg), or the largest signed integer (sox, arecord)."""
    return length >= 0xFFFFF000 or 0x7FFFF000 <= length <= 0x80000FFF


def _chunk(file: BinaryIO, size: int, at: int, header: str, wanted: bytes, *, pad: bool) -> tuple[int, int]:
    """Offset and declared length of the data of the chunk with the name `wanted`; (0, 0) if there is none."""
    width = struct.calcsize(header)
    for _ in range(_MAX_CHUNKS):
        if at + width > size:
            break
        name, length = struct.unpack(header, _at(file, at, width))
        if name == wanted:
            return at + width, length
        if length < 0:
            break
        at += width + length + (length % 2 if pad else 0)
    return 0, 0


def _boxes(file: BinaryIO, size: int) -> int | None:
    """MP4: the file is a sequence of boxes; the end of the last one."""
    at = 0
    for _ in range(_MAX_CHUNKS):
        if at + 8 > size:
            break
        head = _at(file, at, 16)
        length = _number(head, 0, ">I")
        if length == 1:
            length = _number(head, 8, ">Q")
        if length < 8 or not head[4:8].isascii():
            return None  # 0: the box extends to the end of the file; anything else is no box
        at += length
    return at


def _matroska(file: BinaryIO) -> int | None:
    """Matroska: the EBML header, then one segment with everything else."""
    at = 0
    for name in (b"\x1aE\xdf\xa3", b"\x18S\x80g"):
        head = _at(file, at, 12)
        if head[:4] != name or not head[4:5].strip(b"\0"):
            return None
        width = 9 - head[4].bit_length()  # bytes of the length: 1 + the number of leading zeros of the first byte
        length = int.from_bytes(head[4 : 4 + width]) - (1 << 7 * width)
        at += 4 + width + length
    return None if length == (1 << 7 * width) - 1 else at  # all ones: a live recording


def _xing(file: BinaryIO) -> int | None:
    """MP3: the first frame may be a Xing header with the number of bytes of the audio, including itself."""
    at = _after_id3(file, 0)
    frame = _at(file, at, 200)
    mono, mpeg1 = _number(frame, 3, "B") >> 6 == 3, frame[1:2] and frame[1] & 0x18 == 0x18
    place = 4 + {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}[bool(mpeg1), mono]
    if frame[place : place + 4] not in (b"Xing", b"Info"):
        return None
    flags = _number(frame, place + 4, ">I")
    if not flags & 2:
        return None
    return at + _number(frame, place + 8 + (4 if flags & 1 else 0), ">I")


def _after_id3(file: BinaryIO, at: int) -> int:
    """The offset after an ID3 tag that starts at `at`; `at` itself if there is none."""
    head = _at(file, at, 10)
    if head[:3] != b"ID3":
        return at
    return at + 10 + sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(head[6:10])))


def _at(file: BinaryIO, at: int, count: int) -> bytes:
    """Up to `count` bytes at an offset."""
    file.seek(at)
    return file.read(count)


def _number(data: bytes, at: int, code: str) -> int:
    """The integer at an offset, by its `struct` code; 0 if the bytes are missing."""
    width = struct.calcsize(code)
    return int(struct.unpack(code, data[at : at + width])[0]) if len(data) >= at + width else 0
