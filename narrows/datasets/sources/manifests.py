"""Lists of files: JSON lines, tables of text, Kaldi's wav.scp. Paths in them are relative to the manifest.

{"audio_filepath": "a/1.flac", "text": "so it is"}        path,speaker        utt1 a/1.flac
{"audio_filepath": "a/2.flac", "text": "or not"}          a/1.flac,17         utt2 a/2.flac
"""

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence

from narrows.datasets.base import Entry, Json, Place
from narrows.datasets.sources.folders import keys
from narrows.errors import InputError
from narrows.media.files import quoted
from narrows.media.folders import File, size, suffix

KEYS = ("key", "id")
LONGEST_LINE = 16 << 20  # bytes
DEEPEST = 64  # lists and objects in one another
Rows = Iterator[tuple[str, Mapping[str, Json]]]  # each with its place, for messages


def columns_of(medium: str) -> tuple[str, ...]:
    """The columns that may hold the paths of a medium; the first that is there counts."""
    return medium, f"{medium}_filepath", "path", "file"


def manifest_entries(files: Sequence[File], medium: str) -> Iterator[Entry]:
    """One of each row. The key is that of the manifest, else made of the path; other columns are its meta.

    Raises InputError, naming the line, for what is no row, has no path or has a key that is no text.
    """
    named: list[tuple[str | None, str, Place, dict[str, Json]]] = []
    columns = columns_of(medium)
    for file in files:
        folder = os.path.dirname(file.path)
        for where, row in _READERS[suffix(file.path)](file.path):
            column = next((name for name in columns if row.get(name)), None)
            path = row[column] if column else None
            if not isinstance(path, str):
                raise InputError(f"{where} has no path of a file; wanted is a text under {' or '.join(columns)}")
            if not _is_nothing(row.get("offset")):
                raise InputError(f"{where} has an offset, and only whole files are read; cut them first")
            of_key = next((name for name in KEYS if row.get(name) not in (None, "")), None)
            key = row[of_key] if of_key else None
            if not isinstance(key, str | int | None):
                raise InputError(f"{where} has a {of_key} that is neither a text nor a whole number")
            meta = {name: value for name, value in row.items() if name not in (column, of_key)}
            full = os.path.join(folder, path)
            place = Place(full, size=size(full))
            named.append((None if key is None else str(key), path, place, meta))
    made = keys([path for _, path, _, _ in named])
    for (key, _, place, meta), of_path in zip(named, made, strict=True):
        yield Entry(of_path if key is None else key, place, meta)


def _is_nothing(value: Json) -> bool:
    try:
        return value in (None, "") or float(str(value)) == 0
    except ValueError:
        return False


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """Numbered from 1, with their ends. Raises InputError for one that is too long or no UTF-8."""
    try:
        with open(path, "rb") as file:
            number = 0
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise InputError(f"line {number} of {quoted(path)} is longer than {LONGEST_LINE >> 20} MiB; cut it")
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"line {number} of {quoted(path)} is no UTF-8; convert the file with iconv") from error
    except OSError as error:
        raise InputError(f"{quoted(path)} cannot be read: {error.strerror}; check it") from error


def decoded(text: str) -> Json:
    """A value of JSON that any file can hold: finite numbers, whole characters, not nested deeper than DEEPEST.

    Raises ValueError for what is none.
    """
    try:
        value: Json = _decoder.decode(text)
        if text.count("[") + text.count("{") > DEEPEST and _depth(value) > DEEPEST:
            raise RecursionError
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
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
            row = decoded(line)
        except ValueError as error:
            raise InputError(f"{where} is no JSON ({error}); mend or remove it") from error
        if not isinstance(row, dict):
            raise InputError(f'{where} is JSON, but no object; wanted is one such as {{"path": "a.flac"}}')
        yield where, row


def _table_rows(path: str, delimiter: str) -> Rows:
    reader = csv.reader((line for _, line in _lines(path)), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise InputError(f"the first line of {quoted(path)} names a column twice; rename one")
        for row in reader:
            where = f"line {reader.line_num} of {quoted(path)}"
            if len(row) not in (0, len(header)):
                raise InputError(f"{where} has {len(row)} columns and the first line {len(header)}; mend it")
            if row:
                yield where, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise InputError(f"line {reader.line_num} of {quoted(path)} cannot be read ({error}); mend it") from error


def _scp_rows(path: str) -> Rows:
    for number, line in _lines(path):
        where = f"line {number} of {quoted(path)}"
        key, file = [*line.split(None, 1), "", ""][:2]
        if file.rstrip().endswith("|"):
            raise InputError(f"{where} is a command ({quoted(key)}), which is not run; write its sound to a file first")
        if key:
            yield where, {"key": key, "path": file.strip()}


_READERS = {
    ".jsonl": _json_rows,
    ".csv": lambda path: _table_rows(path, ","),
    ".tsv": lambda path: _table_rows(path, "\t"),
    ".scp": _scp_rows,
}
MANIFESTS = frozenset(_READERS)
