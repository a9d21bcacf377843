"""Manifests, which are lists of files: JSON lines, CSV, TSV, Kaldi's wav.scp. Paths are relative to the manifest.

{"audio_filepath": "a/1.flac", "text": "so it is"}        path,speaker        utt1 a/1.flac
{"audio_filepath": "a/2.flac", "text": "or not"}          a/1.flac,17         utt2 a/2.flac
"""

import csv
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from narrows.datasets.base import Json, Location, SourceItem
from narrows.datasets.sources.media_files import keys_of, prefixes_of
from narrows.errors import InputError
from narrows.media.files import quoted
from narrows.media.folders import File, as_text, size, suffix

KEYS = ("key", "id")
MAX_LINE = 16 << 20  # bytes
MAX_DEPTH = 64  # of nested lists and objects
_LAYOUTS = {
    ".csv": "the first line has to name the columns, and commas to separate them",
    ".tsv": "the first line has to name the columns, and tabs to separate them",
}
ManifestRow = tuple[str | None, str, Location, dict[str, Json]]  # key, folder of the manifest, file, other columns
Rows = Iterator[tuple[str, Mapping[str, Json]]]  # each with its line, for messages


def media_columns(medium: str) -> tuple[str, ...]:
    """Names of columns that may hold the paths of a medium; the first that exists is used."""
    return medium, f"{medium}_filepath", "path", "file"


def manifest_items(
    files: Sequence[File], medium: str, notice: Callable[[str], None] = lambda _: None
) -> Iterator[SourceItem]:
    """An item for each row. Its key is in the manifest, else its path; other columns are its `meta`.

    Paths in keys are relative to the folder of the manifest or, where a file is outside of it, to the folder that
    contains all files; `notice` is called with a line about it where only some are outside. For manifests in several
    folders they begin with the names of these, see `prefixes_of`.

    Raises InputError, naming the line, for a row that cannot be read or has no path, and for a key of another type.
    """
    found = list(manifest_rows(files, medium))
    paths = [(folder, os.path.normpath(location.path)) for _, folder, location, _ in found]
    outside = [path for folder, path in paths if not _is_in(path, folder)]
    if 0 < len(outside) < len(paths) and any(key is None for key, *_ in found):
        notice(
            f"{quoted(outside[0])} is outside of the folder of its manifest, so keys made from paths begin at "
            f"{quoted(_root(paths))} instead; for keys that do not depend on other rows give a column key"
        )
    names = _names(paths)
    for (key, _, location, meta), path_key in zip(found, keys_of(names), strict=True):
        yield SourceItem(path_key if key is None else key, location, meta)


def manifest_rows(files: Sequence[File], medium: str) -> Iterator[ManifestRow]:
    """The rows of manifests. Raises InputError as `manifest_items` does."""
    columns = media_columns(medium)
    for file in files:
        folder = os.path.dirname(file.path)
        for where, row in _READERS[suffix(file.path)](file.path):
            column = next((name for name in columns if row.get(name)), None)
            path = row[column] if column else None
            if not isinstance(path, str):
                raise InputError(
                    f"expected the path of a file under {' or '.join(columns)} in {where}, got "
                    f"{_found(row, columns, suffix(file.path))}"
                )
            if not _is_zero(row.get("offset")):
                raise InputError(f"expected whole files, got an offset other than 0 in {where}; cut the files first")
            key_column = next((name for name in KEYS if row.get(name) not in (None, "")), None)
            key = row[key_column] if key_column else None
            if not isinstance(key, str | int | None):
                raise InputError(f"expected text or an integer under {key_column} in {where}, got {str(key)[:40]!r}")
            meta = {name: value for name, value in row.items() if name not in (column, key_column)}
            full = os.path.join(folder, path)
            location = Location(full, size=size(full))
            yield None if key is None else str(key), folder, location, meta


def _names(paths: Sequence[tuple[str, str]]) -> list[str]:
    """Names of files, each given with the folder of its manifest."""
    if not all(_is_in(path, folder) for folder, path in paths):
        root = _root(paths)
        paths = [(root, path) for _, path in paths]
    prefixes = prefixes_of(folder for folder, _ in paths)
    return [prefixes[folder] + as_text(path[len(os.path.join(folder, "")) :]) for folder, path in paths]


def _is_in(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))


def _root(paths: Sequence[tuple[str, str]]) -> str:
    """The folder that contains all files."""
    return os.path.commonpath([os.path.dirname(path) for _, path in paths])


def _found(row: Mapping[str, Json], columns: Sequence[str], ending: str) -> str:
    """What a row without a path has instead, and what to do."""
    given = next((name for name in columns if name in row), None)
    if given is not None:
        return f"{str(row[given])[:40]!r} under {given}; write a path, or remove the row"
    return f"{_columns(row)}; {_LAYOUTS.get(ending, 'rename the one with the paths')}"


def _columns(names: Iterable[str]) -> str:
    """Names of columns, for messages."""
    shown = list(names)
    more = ", …" if len(shown) > 8 else ""
    return "the columns " + ", ".join(repr(name[:40]) for name in shown[:8]) + more if shown else "no columns"


def _is_zero(value: Json) -> bool:
    try:
        return value in (None, "") or float(str(value)) == 0
    except ValueError:
        return False


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """The lines of a file, numbered from 1. Raises InputError for one that is too long or not UTF-8."""
    try:
        with open(path, "rb") as file:
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise InputError(
                        f"expected lines of at most {MAX_LINE >> 20} MiB, got more in line {number} of {quoted(path)}"
                    )
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"expected UTF-8, got other bytes in line {number} of {quoted(path)}; convert it with iconv"
        ) from error
    except OSError as error:
        raise InputError(f"{quoted(path)} cannot be read: {error.strerror}; check it") from error


def parse_finite_json(text: str) -> Json:
    """A value of JSON with finite numbers, valid characters and a depth of at most MAX_DEPTH.

    Raises ValueError for anything else.
    """
    try:
        value: Json = _decoder.decode(text)
        if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
            raise RecursionError
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def _depth(value: Json) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inside), default=0)


def _number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not a finite number")
    return number


_decoder = json.JSONDecoder(parse_constant=_number, parse_float=_number)


def _json_rows(path: str) -> Rows:
    for number, line in _lines(path):
        if not line.strip():
            continue
        where = f"line {number} of {quoted(path)}"
        try:
            row = parse_finite_json(line)
        except ValueError as error:
            raise InputError(
                f"expected JSON in {where}, got {line.strip()[:40]!r} ({error}); repair or remove it"
            ) from error
        if not isinstance(row, dict):
            raise InputError(f'expected an object such as {{"path": "a.flac"}} in {where}, got {line.strip()[:40]!r}')
        yield where, row


def _table_rows(path: str, delimiter: str) -> Rows:
    layout = _LAYOUTS[suffix(path)]
    reader = csv.reader((line for _, line in _lines(path)), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) < len(header):
            raise InputError(f"expected columns with different names, got one twice in {quoted(path)}; rename it")
        for row in reader:
            where = f"line {reader.line_num} of {quoted(path)}"
            if len(row) not in (0, len(header)):
                raise InputError(
                    f"expected {len(header)} columns, as in the first line ({_columns(header)}), got {len(row)} in "
                    f"{where}; {layout}"
                )
            if row:
                yield where, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise InputError(f"line {reader.line_num} of {quoted(path)} cannot be read ({error}); repair it") from error


def _scp_rows(path: str) -> Rows:
    for number, line in _lines(path):
        where = f"line {number} of {quoted(path)}"
        key, file = [*line.split(None, 1), "", ""][:2]
        if file.rstrip().endswith("|"):
            raise InputError(
                f"expected a file, got a command in {where} ({quoted(key)}); write its output to a file first"
            )
        if key:
            yield where, {"key": key, "path": file.strip()}


_READERS = {
    ".jsonl": _json_rows,
    ".csv": lambda path: _table_rows(path, ","),
    ".tsv": lambda path: _table_rows(path, "\t"),
    ".scp": _scp_rows,
}
MANIFEST_SUFFIXES = frozenset(_READERS)
