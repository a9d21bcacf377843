"""The end of the audio that the container declares, read from its headers without decoding.

A file that is shorter was cut. Decoders rarely report that: they return the samples that are there.

    RIFF 400036 WAVE  fmt …  data 400000 ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒╎ ─ ─ ─ ─ ┤ declared end
                                                          └ the file ends here
"""

import struct
from dataclasses import dataclass
from itertools import takewhile
from typing import BinaryIO

from narrows.media.binary import boxes, bytes_at, number

_MAX_CHUNKS = 1_000_000  # chunks or pages that are read before giving up: more than 4 GB of Ogg pages
_MP4_BOXES = frozenset(  # those that a file consists of; anything else is not part of it
    {
        *(b"ftyp", b"styp", b"moov", b"moof", b"mfra", b"mdat", b"sidx", b"ssix", b"emsg", b"prft", b"pdin"),
        *(b"free", b"skip", b"wide", b"udta", b"meta", b"uuid", b"pnot", b"PICT"),
    }
)
_EBML, _SEGMENT, _CLUSTER = b"\x1aE\xdf\xa3", b"\x18S\x80g", b"\x1fC\xb6u"  # elements of Matroska
_DECODER_DELAY = 529  # samples of MP3
_TAIL = 4096  # bytes by which a placeholder may fall short of a power of two: the length of a header


def declared_end(file: BinaryIO, size: int, start: int = 0) -> int | None:
    """The offset in bytes at which the audio ends, as the container declares it; None if it does not.

    Understands WAV, RF64, W64, AIFF, AU, CAF, MP4, Matroska/WebM, Ogg, and MP3 with a Xing header. Programs that write
    to a pipe leave a placeholder for the length, which counts as none.

    Args:
        file: open for reading; its position changes.
        size: of the file, in bytes.
        start: offset of the container, after tags.
    """
    head = bytes_at(file, start, 40)
    match head[:4]:
        case b"RIFF" | b"RIFX":
            return _wave(file, size, start, "<4sI" if head[:4] == b"RIFF" else ">4sI")
        case b"RF64" | b"BW64":
            return _wave(file, size, start, "<4sI", long=number(head, 28, "<Q") if head[12:16] == b"ds64" else None)
        case b"FORM":
            at, length = _chunk(file, size, start + 12, ">4sI", b"SSND", pad=True)
            return at + length if length > 0 and not _is_placeholder(length) else None
        case b"caff":
            at, length = _chunk(file, size, start + 8, ">4sq", b"data", pad=False)
            return at + length if length > 0 else None
        case b"riff":
            total = number(head, 16, "<q")
            return start + total if total > 0 else None
        case b".snd":
            at, length = number(head, 4, ">I"), number(head, 8, ">I")
            return start + at + length if not _is_placeholder(length) else None
        case b"OggS":
            return ogg_pages(file, start).end
        case b"\x1aE\xdf\xa3":
            return _matroska(file, start)
    if head[4:8] in _MP4_BOXES:
        known = takewhile(lambda box: box[0] in _MP4_BOXES, boxes(file, start, size))
        return max((end for _, _, end in known), default=None)
    return _xing(file, start) if mpeg_format(file, start) == "mp3" else None


def mpeg_format(file: BinaryIO, at: int) -> str | None:
    """The kind of the MPEG frame at an offset of the file: "mp3", "aac" or None."""
    sync = number(bytes_at(file, at, 2), 0, ">H")
    if sync >> 5 != 0x7FF:  # every frame begins with eleven ones
        return None
    return "mp3" if sync & 6 else "aac"  # two bits for the layer of MPEG audio, zero for AAC


@dataclass(frozen=True)
class OggPages:
    """What the pages of an Ogg file say.

    Attributes:
        streams: consecutive or interleaved ones; 0 for another file.
        timed: number of pages with a time other than 0.
        end: offset of the end of the last page; None for another file.
    """

    streams: int
    timed: int
    end: int | None


def ogg_pages(file: BinaryIO, start: int) -> OggPages:
    """Reads the headers of the pages of an Ogg file; `start` is the offset of the first."""
    streams = timed = 0
    at, end = start, None
    for _ in range(_MAX_CHUNKS):
        page = bytes_at(file, at, 27 + 255)
        if page[:4] != b"OggS":
            break  # the end of the file, other data, or a damaged page: the decoder decides
        streams += page[5:6] == b"\x02"
        timed += number(page, 6, "<q") not in (0, -1)
        table = page[27 : 27 + number(page, 26, "B")]
        at = end = at + 27 + number(page, 26, "B") + sum(table)
    return OggPages(streams, timed, end)


def _wave(file: BinaryIO, size: int, start: int, header: str, long: int | None = None) -> int | None:
    """WAV: 32-bit lengths. RF64 has a 64-bit length `long` in front, used where the short one is all ones."""
    at, length = _chunk(file, size, start + 12, header, b"data", pad=True)
    total = number(bytes_at(file, start + 4, 4), 0, header[0] + "I")
    if not at:
        return None
    if long is not None and length == 0xFFFFFFFF:
        length = long
    elif _is_placeholder(length) or (long is None and _is_placeholder(total)) or (_is_round(length) and total > length):
        return None
    elif length == 0 and total + 8 != size - start:
        return None  # placeholders; in a file that is really empty the other length is right
    fmt, _ = _chunk(file, size, start + 12, header, b"fmt ", pad=True)
    block = number(bytes_at(file, fmt + 12, 2), 0, header[0] + "H")
    return at + length - length % (block or 1)


def _is_placeholder(length: int) -> bool:
    """Whether a 32-bit length was written before the true one was known.

    These are the largest integers, signed or not (-1, as ffmpeg, sox and arecord write), also less the length of a
    header.
    """
    return length >= 2**32 - _TAIL or 2**31 - _TAIL <= length < 2**31 + _TAIL


def _is_round(length: int) -> bool:
    """Whether a length is a round number from 1 000 000 000 to 2 100 000 000: servers of speech write such."""
    return 10**9 <= length < 2**31 and length % 10**8 == 0


def _chunk(file: BinaryIO, size: int, at: int, header: str, wanted: bytes, *, pad: bool) -> tuple[int, int]:
    """Offset and declared length of the data of the chunk with the name `wanted`; (0, 0) if there is none."""
    width = struct.calcsize(header)
    for _ in range(_MAX_CHUNKS):
        if at + width > size:
            break
        name, length = struct.unpack(header, bytes_at(file, at, width))
        if name == wanted:
            return at + width, length
        if length < 0:
            break
        at += width + length + (length % 2 if pad else 0)
    return 0, 0


def _matroska(file: BinaryIO, at: int) -> int | None:
    """Matroska: the EBML header, then one segment with everything else."""
    for name in (b"\x1aE\xdf\xa3", b"\x18S\x80g"):
        head = bytes_at(file, at, 12)
        if head[:4] != name or not head[4:5].strip(b"\0"):
            return None
        width = 9 - head[4].bit_length()  # bytes of the length: 1 + the number of leading zeros of the first byte
        length = int.from_bytes(head[4 : 4 + width]) - (1 << 7 * width)
        at += 4 + width + length
    return None if length == (1 << 7 * width) - 1 else at  # all ones: a live recording


def missing(file: BinaryIO, end: int, declared: int | None) -> tuple[int, int] | None:
    """The bytes that a cut file should have and those that it has; None for a whole one, as far as its header tells.

    Args:
        file: the file.
        end: where the file ends, without tags.
        declared: as `declared_end` returns it.
    """
    if declared is not None and declared > end:
        return declared, end
    zeros = zeros_in_matroska(file, end)
    return None if zeros is None else (end, zeros)


def zeros_in_matroska(file: BinaryIO, size: int) -> int | None:
    """Where zeros stand in place of an element of a Matroska file, as a download that was cut leaves them; else None.

    The elements of the segment are looked at, and those of the last cluster before the zeros. A file without a declared
    end, as of a live recording, or that is shorter than that, is not looked at.
    """
    header = _element(file, 0)
    segment = _element(file, header[2]) if header and header[0] == _EBML else None
    if not segment or segment[0] != _SEGMENT or segment[2] > size:
        return None
    at = inside = segment[1]
    while at < segment[2] and (element := _element(file, at)):
        inside = element[1] if element[0] == _CLUSTER else inside
        at = element[2]
    end, at = at, inside
    while at < end and (element := _element(file, at)):
        at = element[2]
    return at if at < segment[2] and not bytes_at(file, at, 8).strip(b"\0") else None


def _element(file: BinaryIO, at: int) -> tuple[bytes, int, int] | None:
    """The identifier of an element, and the offsets of its content and its end; None for what is no element."""
    head = bytes_at(file, at, 12)
    name = 9 - head[0].bit_length() if head else 0  # bytes: 1 + the number of leading zeros of the first byte
    width = 9 - head[name].bit_length() if len(head) == 12 and name <= 4 else 9
    if width > 8:
        return None
    length = int.from_bytes(head[name : name + width]) - (1 << 7 * width)
    begin = at + name + width
    return head[:name], begin, begin + length


def counted_samples(file: BinaryIO, at: int) -> int | None:
    """The samples of an MP3 that starts at an offset, by its Xing header; None if it does not count them.

    LAME's tag states the padding at the begin and the end. Padding that is shorter than the delay of the decoder, as
    after a cut, counts for nothing: the last samples cannot be decoded then.
    """
    frame, place = _xing_header(file, at)
    flags = number(frame, place + 4, ">I")
    if not place or not flags & 1:
        return None
    samples = number(frame, place + 8, ">I") * (1152 if frame[1] & 0x08 else 576)
    tag = place + 12 + (4 if flags & 2 else 0) + (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    if frame[tag : tag + 4] not in (b"LAME", b"Lavf", b"Lavc"):
        return samples
    padding = number(frame, tag + 21, ">I") >> 8  # 12 bits each
    return samples - (padding >> 12) - max(padding & 0xFFF, _DECODER_DELAY)


def _xing(file: BinaryIO, at: int) -> int | None:
    """MP3: the first frame may be a Xing header with the number of bytes of the audio, including itself."""
    frame, place = _xing_header(file, at)
    flags = number(frame, place + 4, ">I")
    if not place or not flags & 2:
        return None
    return at + number(frame, place + 8 + (4 if flags & 1 else 0), ">I")


def _xing_header(file: BinaryIO, at: int) -> tuple[bytes, int]:
    """The frame of an MP3 at an offset, and where in it a Xing header begins; 0 if there is none."""
    frame = bytes_at(file, at, 200)
    mono, mpeg1 = number(frame, 3, "B") >> 6 == 3, frame[1:2] and frame[1] & 0x18 == 0x18
    place = 4 + {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}[bool(mpeg1), mono]
    return frame, place if frame[place : place + 4] in (b"Xing", b"Info") else 0
