"""WebDataset tars: members whose names agree up to the first dot are one sample.

    a/0001.flac  ─┐
    a/0001.json   ├─ key "a/0001", meta {"speaker": 17, "txt": "so it is"}
    a/0001.txt   ─┘

Only headers are read here (POSIX.1-2001 "pax interchange format", and GNU's long names), nothing is unpacked, and no
name of a member is ever a path. https://www.gnu.org/software/tar/manual/html_node/Standard.html
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from narrows.datasets.base import Entry, Json, Place
from narrows.datasets.sources.manifests import decoded
from narrows.errors import InputError
from narrows.media.files import quoted
from narrows.media.folders import File, suffix
from narrows.media.table import MEDIA

BLOCK = 512  # bytes
LONGEST_TEXT = 1 << 20  # bytes of a member that travels as meta, and of an extended header
_TEXTS = (".json", ".txt", ".cls")


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of a tar: `size` bytes from `start`, if the tar is as long as it claims."""

    name: str
    start: int
    size: int


def tar_entries(files: Sequence[File], medium: str) -> Iterator[Entry]:
    """One of each member of the medium; members of one sample stand together, as WebDataset has them. Several media of
    one sample keep the rest of their names in their keys.

    json: its object is the meta, else text under "json". txt and cls: text under these names, cls a number if it is.
    Raises InputError for what is no tar.
    """
    for file in files:
        try:
            with open(file.path, "rb") as tar:
                size = os.fstat(tar.fileno()).st_size
                yield from _of_one(tar, file.path, size, MEDIA[medium].suffixes)
        except OSError as error:
            raise InputError(f"{quoted(file.path)} cannot be read: {error.strerror}; check it") from error


def _of_one(tar: BinaryIO, path: str, size: int, suffixes: frozenset[str]) -> Iterator[Entry]:
    key, media, meta = None, list[tuple[str, Member]](), dict[str, Json]()
    for member in members(tar, path, size):
        folder, slash, base = member.name.removeprefix("./").rpartition("/")
        stem, _, rest = base.partition(".")
        of_sample = folder + slash + stem
        if not stem:  # begins with a dot: what systems leave behind
            continue
        if of_sample != key:
            yield from _sample(path, key, media, meta)
            key, media, meta = of_sample, [], {}
        if suffix("_." + rest) in suffixes:
            media.append((rest, member))
        elif suffix("_." + rest) in _TEXTS and member.size <= LONGEST_TEXT:
            tar.seek(member.start)
            meta |= _meta(rest.lower(), tar.read(member.size).decode("utf-8", "replace"))
    yield from _sample(path, key, media, meta)


def _sample(path: str, key: str | None, media: list[tuple[str, Member]], meta: dict[str, Json]) -> Iterator[Entry]:
    for rest, member in media:
        name = f"{key}.{rest}" if len(media) > 1 else str(key)
        yield Entry(name, Place(path, member.start, member.size), meta)


def _meta(rest: str, content: str) -> dict[str, Json]:
    if rest == "json":
        try:
            value = decoded(content)
        except ValueError:
            value = None
        if isinstance(value, dict):
            return value
    digits = content.strip()
    if rest == "cls" and digits.isdecimal() and digits.isascii() and len(digits) < 19:
        return {rest: int(digits)}
    return {rest: content}


def members(tar: BinaryIO, path: str, size: int) -> Iterator[Member]:
    """The regular files of a tar of `size` bytes, in order.

    Raises InputError for a header that is none, for links, and for a tar that ends before its mark of the end.
    """
    at, name, longer = 0, None, None
    while at + BLOCK <= size:
        tar.seek(at)
        header = tar.read(BLOCK)
        if not header.strip(b"\0"):
            return
        try:
            if _number(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * 32:
                raise ValueError("its checksum is another")
            length, kind = _number(header[124:136]), header[156:157]
            if kind in b"xL" and length > LONGEST_TEXT:
                raise ValueError(f"a name of {length} bytes")
            records = _pax(tar.read(length)) if kind == b"x" else {}
            if kind in b"12":
                raise ValueError("a link, and bytes are wanted: pack with tar --dereference --hard-dereference")
            if kind == b"S" or any(keyword.startswith(b"GNU.sparse.") for keyword in records):
                raise ValueError("a file with holes, as tar --sparse writes it")
        except ValueError as error:
            raise InputError(
                f"{quoted(path)} is no tar, or damaged at byte {at} ({error}); wanted is a tar that is not compressed"
            ) from error
        start = at + BLOCK
        if kind == b"L":
            name = tar.read(length).rstrip(b"\0")
        elif kind == b"x":
            name, longer = records.get(b"path", name), records.get(b"size", longer)
        elif kind not in b"gK":
            length = int(longer) if longer is not None and longer.isdigit() and len(longer) < 20 else length
            told = _name(header) if name is None else name
            if kind in b"0\x007" and start + length <= size:
                yield Member(told.decode("utf-8", "backslashreplace"), start, length)
            name = longer = None
        at = start + -(-length // BLOCK) * BLOCK
    raise InputError(f"{quoted(path)} is cut: it ends without its mark of the end; get another copy, or leave it out")


def _number(field: bytes) -> int:
    """Octal digits, or (GNU) a big-endian number behind a set first bit. Raises ValueError for anything else."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:])
    digits = field.strip(b" \0")
    if not digits.isdigit():
        raise ValueError("a number of its header is none")
    return int(digits, 8)


def _name(header: bytes) -> bytes:
    name, prefix = header[:100].partition(b"\0")[0], header[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def _pax(records: bytes) -> dict[bytes, bytes]:
    """`length keyword=value\\n`, where the length counts itself."""
    found: dict[bytes, bytes] = {}
    while records:
        length, space, _ = records.partition(b" ")
        if not space or not length.isdigit() or len(length) > 7 or not len(length) < int(length) <= len(records):
            return found
        keyword, _, value = records[len(length) + 1 : int(length)].partition(b"=")
        found[keyword] = value.removesuffix(b"\n")
        records = records[int(length) :]
    return found
