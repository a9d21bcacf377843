"""Where a container says that its sound ends, read from the bytes around the sound and not from the sound.

A file shorter than that was cut. Decoders rarely say so: they return what is there.

    RIFF 400036 WAVE  fmt …  data 400000 ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒╎ ─ ─ ─ ─ ┤ stated end
                                                          └ the file ends here
"""

import struct
from typing import BinaryIO

_STEPS = 1_000_000  # chunks, pages or boxes to walk over before giving up: more than 4 GB of Ogg pages


def stated_end(file: BinaryIO, size: int) -> int | None:
    """The byte at which the sound ends, or None where the container does not say; `size` is the file's, in bytes.

    WAV, RF64, W64, AIFF, AU, CAF, MP4, Matroska/WebM, Ogg, and MP3 with a Xing header are understood. Writers that
    cannot go back (a pipe) leave a placeholder for the length: that counts as not said. Moves the file's position.
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
    """What kind of MPEG frame stands at a byte of the file, behind an ID3 tag or not: "mp3", "aac" or None."""
    sync = _number(_at(file, _behind_id3(file, at), 2), 0, ">H")
    if sync >> 5 != 0x7FF:  # eleven ones start every frame
        return None
    return "mp3" if sync & 6 else "aac"  # the two bits tell the layer of MPEG audio, and AAC has none


def ogg_streams(file: BinaryIO) -> int:
    """The number of streams in an Ogg file, one after the other or interleaved; 0 in another file."""
    return _ogg_pages(file)[0]


def _ogg_pages(file: BinaryIO) -> tuple[int, int | None]:
    """The number of pages that begin a stream, and the end of the last page."""
    streams = at = 0
    end = None
    for _ in range(_STEPS):
        page = _at(file, at, 27 + 255)
        if page[:4] != b"OggS":
            break  # the end, something that is no page, or a damaged page: the decoder decides
        streams += page[5:6] == b"\x02"
        table = page[27 : 27 + _number(page, 26, "B")]
        at = end = at + 27 + _number(page, 26, "B") + sum(table)
    return streams, end


def _wave(file: BinaryIO, size: int, header: str, long: int | None = None) -> int | None:
    """WAV: 32-bit lengths; RF64 keeps a `long` one in front, for where the short one is full of ones."""
    start, length = _chunk(file, size, 12, header, b"data", pad=True)
    if not start:
        return None
    if long is not None and length == 0xFFFFFFFF:
        length = long
    elif _is_placeholder(length):
        return None
    elif length == 0 and _number(_at(file, 4, 4), 0, header[0] + "I") + 8 != size:
        return None  # the lengths were never filled in; a truly empty file has the other one right
    block = _number(_at(file, _chunk(file, size, 12, header, b"fmt ", pad=True)[0] + 12, 2), 0, header[0] + "H")
    return start + length - length % (block or 1)


def _is_placeholder(length: int) -> bool:
    """The lengths that writers to a pipe leave: all ones (ffmpeg), or the largest positive one (sox, arecord)."""
    return length >= 0xFFFFF000 or 0x7FFFF000 <= length <= 0x80000FFF


def _chunk(file: BinaryIO, size: int, at: int, header: str, wanted: bytes, *, pad: bool) -> tuple[int, int]:
    """Where the contents of a chunk start and how long they say to be; (0, 0) without such a chunk."""
    width = struct.calcsize(header)
    for _ in range(_STEPS):
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
    """MP4: boxes from the first byte to the last; the end of the last one."""
    at = 0
    for _ in range(_STEPS):
        if at + 8 > size:
            break
        head = _at(file, at, 16)
        length = _number(head, 0, ">I")
        if length == 1:
            length = _number(head, 8, ">Q")
        if length < 8 or not head[4:8].isascii():
            return None  # 0: to the end of the file, whatever that is; anything else is no box
        at += length
    return at


def _matroska(file: BinaryIO) -> int | None:
    """Matroska: the EBML header, then one segment that holds everything else."""
    at = 0
    for name in (b"\x1aE\xdf\xa3", b"\x18S\x80g"):
        head = _at(file, at, 12)
        if head[:4] != name or not head[4:5].strip(b"\0"):
            return None
        width = 9 - head[4].bit_length()  # the leading zeros of the first byte tell how many bytes the length has
        length = int.from_bytes(head[4 : 4 + width]) - (1 << 7 * width)
        at += 4 + width + length
    return None if length == (1 << 7 * width) - 1 else at  # all ones: a live recording


def _xing(file: BinaryIO) -> int | None:
    """MP3: the first frame may be a table of contents that tells how many bytes follow, itself included."""
    at = _behind_id3(file, 0)
    frame = _at(file, at, 200)
    mono, mpeg1 = _number(frame, 3, "B") >> 6 == 3, frame[1:2] and frame[1] & 0x18 == 0x18
    place = 4 + {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}[bool(mpeg1), mono]
    if frame[place : place + 4] not in (b"Xing", b"Info"):
        return None
    flags = _number(frame, place + 4, ">I")
    if not flags & 2:
        return None
    return at + _number(frame, place + 8 + (4 if flags & 1 else 0), ">I")


def _behind_id3(file: BinaryIO, at: int) -> int:
    """The byte behind an ID3 tag that starts at `at`; `at` itself without one."""
    head = _at(file, at, 10)
    if head[:3] != b"ID3":
        return at
    return at + 10 + sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(head[6:10])))


def _at(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


def _number(data: bytes, at: int, code: str) -> int:
    """One integer, 0 where the bytes are not there."""
    width = struct.calcsize(code)
    return int(struct.unpack(code, data[at : at + width])[0]) if len(data) >= at + width else 0
