"""WebDataset tars: members whose names are equal up to the first dot are one sample.

    a/0001.flac  ─┐
    a/0001.json   ├─ key "a/0001", meta {"speaker": 17, "txt": "so it is"}
    a/0001.txt   ─┘

Only headers are read here (POSIX.1-2001 "pax interchange format", and GNU's long names). Nothing is unpacked, and
names of members are never used as paths. https://www.gnu.org/software/tar/manual/html_node/Standard.html
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from narrows.datasets.base import Json, Location, SourceItem
from narrows.datasets.sources.manifests import parse_finite_json
from narrows.errors import InputError
from narrows.media.files import quoted
from narrows.media.folders import File, suffix
from narrows.media.table import MEDIA

BLOCK = 512  # bytes
MAX_TEXT = 1 << 20  # bytes of a member that becomes `meta`, and of an extended header
_TEXTS = (".json", ".txt", ".cls")


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in a tar: `size` bytes from `start`, as its header claims."""

    name: str
    start: int
    size: int


def tar_items(files: Sequence[File], medium: str) -> Iterator[SourceItem]:
    """An item for each member of the medium. Members of one sample must follow one another, as WebDataset requires.

    Where a sample has several members of the medium, their keys include the rest of their names. `meta` is the object
    in the sample's .json (or its text under "json"), and the text of .txt and .cls, a decimal .cls as an integer.
    Raises InputError for a file that is not a tar.
    """
    for file in files:
        try:
            with open(file.path, "rb") as tar:
                size = os.fstat(tar.fileno()).st_size
                yield from _items_in(tar, file.path, size, MEDIA[medium].suffixes)
        except OSError as error:
            raise InputError(f"{quoted(file.path)} cannot be read: {error.strerror}; check it") from error


def _items_in(tar: BinaryIO, path: str, size: int, suffixes: frozenset[str]) -> Iterator[SourceItem]:
    key, media, meta = None, list[tuple[str, Member]](), dict[str, Json]()
    for member in members(tar, path, size):
        folder, slash, base = member.name.removeprefix("./").rpartition("/")
        stem, _, rest = base.partition(".")
        sample = folder + slash + stem
        if not stem:  # a hidden file, such as macOS adds
            continue
        if sample != key:
            yield from _sample(path, key, media, meta)
            key, media, meta = sample, [], {}
        if suffix("_." + rest) in suffixes:
            media.append((rest, member))
        elif suffix("_." + rest) in _TEXTS and member.size <= MAX_TEXT:
            tar.seek(member.start)
            meta |= _meta(rest.lower(), tar.read(member.size).decode("utf-8", "replace"))
    yield from _sample(path, key, media, meta)


def _sample(path: str, key: str | None, media: list[tuple[str, Member]], meta: dict[str, Json]) -> Iterator[SourceItem]:
    for rest, member in media:
        name = f"{key}.{rest}" if len(media) > 1 else str(key)
        yield SourceItem(name, Location(path, member.start, member.size), meta)


def _meta(rest: str, content: str) -> dict[str, Json]:
    if rest == "json":
        try:
            value = parse_finite_json(content)
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

    Raises InputError for a damaged header, for links, and for a tar that ends before its end-of-archive block.
    """
    at, name, long_size = 0, None, None
    while at + BLOCK <= size:
        tar.seek(at)
        header = tar.read(BLOCK)
        if not header.strip(b"\0"):
            return
        try:
            if _number(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * 32:
                raise ValueError("wrong checksum")
            length, kind = _number(header[124:136]), header[156:157]
            if kind in b"xL" and length > MAX_TEXT:
                raise ValueError(f"a name of {length} bytes")
            records = _pax(tar.read(length)) if kind == b"x" else {}
            if kind in b"12":
                raise ValueError("a link; pack with tar --dereference --hard-dereference")
            if kind == b"S" or any(keyword.startswith(b"GNU.sparse.") for keyword in records):
                raise ValueError("a sparse file, as tar --sparse writes it")
        except ValueError as error:
            raise InputError(
                f"expected an uncompressed tar, got {quoted(path)}, which is invalid at byte {at}: {error}"
            ) from error
        start = at + BLOCK
        if kind == b"L":
            name = tar.read(length).rstrip(b"\0")
        elif kind == b"x":
            name, long_size = records.get(b"path", name), records.get(b"size", long_size)
        elif kind not in b"gK":
            length = int(long_size) if long_size is not None and long_size.isdigit() and len(long_size) < 20 else length
            stored = _name(header) if name is None else name
            if kind in b"0\x007" and start + length <= size:
                yield Member(stored.decode("utf-8", "backslashreplace"), start, length)
            name = long_size = None
        at = start + -(-length // BLOCK) * BLOCK
    raise InputError(f"expected an end-of-archive block in {quoted(path)}, got none: it is truncated; get another copy")


def _number(field: bytes) -> int:
    """Octal digits, or (GNU) a big-endian number after a byte 0x80. Raises ValueError for anything else."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:])
    digits = field.strip(b" \0")
    if not digits.isdigit():
        raise ValueError("an invalid number in its header")
    return int(digits, 8)


def _name(header: bytes) -> bytes:
    name, prefix = header[:100].partition(b"\0")[0], header[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def _pax(records: bytes) -> dict[bytes, bytes]:
    """Records `length keyword=value\\n`; the length includes itself."""
    found: dict[bytes, bytes] = {}
    while records:
        length, space, _ = records.partition(b" ")
        if not space or not length.isdigit() or len(length) > 7 or not len(length) < int(length) <= len(records):
            return found
        keyword, _, value = records[len(length) + 1 : int(length)].partition(b"=")
        found[keyword] = value.removesuffix(b"\n")
        records = records[int(length) :]
    return found
