"""Reads and writes results as files.

results.json                               everything; the other files are derived from it
item_results.csv, item_results.parquet     one row per item and operating point
summary.csv                                one row per operating point
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow
from pyarrow import parquet

from narrows.errors import InputError
from narrows.evaluation.results import CODING, PointSummary, Results
from narrows.media.atomic import write_bytes
from narrows.media.files import StrPath, open_input, quoted
from narrows.records import parse_json, to_record

FORMAT, VERSION = "narrows results", 1

Cell = str | int | float | None
Columns = Mapping[str, Sequence[Cell]]  # columns of equal length, by name

_INTEGERS = frozenset({"file_bytes", "payload_bytes"})
_TEXTS = frozenset({"item", "point", "family", "failures"})


def read_results(path: StrPath) -> Results:
    """Reads results from a results.json.

    Raises:
        MediaError: The file cannot be read.
        InputError: The file does not hold results.
    """
    with open_input(path) as file:
        return results_from_json(file.read(), quoted(path))


def write_results(results: Results, folder: StrPath, *, overwrite: bool = False) -> None:
    """Writes results.json, item_results.csv, item_results.parquet and summary.csv.

    Each file appears only when it is complete. Equal results give equal bytes (Parquet: with one version of pyarrow).

    Args:
        results: The results.
        folder: Folder to write to; it is created if it does not exist.
        overwrite: Whether existing files are replaced.

    Raises:
        MediaError: A file cannot be written, or exists and `overwrite` is False.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    items = item_columns(results)
    files = {
        "results.json": results_to_json(results).encode(),
        "item_results.csv": as_csv(items),
        "item_results.parquet": as_parquet(items),
        "summary.csv": as_csv(summary_columns(results)),
    }
    for name, data in files.items():
        write_bytes(folder / name, data, overwrite=overwrite)


def results_to_json(results: Results) -> str:
    """Converts results to JSON; equal results give equal text."""
    facts = {"format": FORMAT, "version": VERSION} | asdict(results)
    return json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def results_from_json(text: str | bytes, source: str = "the text") -> Results:
    """Reads the output of `results_to_json`. Raises InputError, which names `source`, for anything else."""
    try:
        facts = parse_json(text)
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            raise InputError(f"it has no format {FORMAT!r}")
        version = facts.get("version")
        if version != VERSION:
            raise InputError(f"its version is {version}, this narrows reads version {VERSION}; install another narrows")
        return to_record(Results, {key: facts[key] for key in facts.keys() - {"format", "version"}}, "the file")
    except InputError as error:
        raise InputError(f"expected results in {source}: {error}; give an unmodified results.json") from error


def item_columns(results: Results) -> Columns:
    """One row per item and point: bytes, rate, a column for each metric, and the reasons for missing values."""
    points, rows = {point.name: point for point in results.points}, results.item_results
    columns: dict[str, list[Cell]] = {
        "item": [row.item for row in rows],
        "point": [row.point for row in rows],
        "family": [points[row.point].family for row in rows],
        "setting": [points[row.point].setting for row in rows],
        "amount": [row.amount for row in rows],
        "file_bytes": [row.file_bytes if row.coded else None for row in rows],
        "payload_bytes": [row.payload_bytes if row.coded else None for row in rows],
        "rate": [results.rate(row) if row.coded else None for row in rows],
    }
    for metric in results.metrics:
        columns[metric.name] = [row.metrics.get(metric.name) for row in rows]
    reasons = [json.dumps(dict(sorted(row.failures.items())), ensure_ascii=False) for row in rows]
    return columns | {"failures": reasons}


def summary_columns(results: Results) -> Columns:
    """One row per point: rate and metrics with their intervals, numbers of failed items, use of codes, speed."""
    rows = [_summary_row(results, summary) for summary in results.summaries()]
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else {})}


def _summary_row(results: Results, summary: PointSummary) -> dict[str, Cell]:
    point, speed = summary.point, summary.point.speed
    row: dict[str, Cell] = {"point": point.name, "family": point.family, "setting": point.setting}
    row |= {"items": summary.items, "failed": summary.failed[CODING]}
    intervals = {"rate": summary.rate} | {metric.name: summary.metrics.get(metric.name) for metric in results.metrics}
    for name, interval in intervals.items():
        for part in ("mean", "low", "high"):
            row[f"{name}_{part}"] = getattr(interval, part, None)
        if name == "rate":
            row |= {"rate_total": summary.total_rate, "payload_rate_total": summary.total_payload_rate}
        else:
            row[f"{name}_failed"] = summary.failed[name]
    row |= {"codes_rate": summary.codes, "codes_used": summary.codes_used, "perplexity": summary.perplexity}
    for name in ("encode", "decode", "peak_mib", "parameters", "flops"):
        row[name] = getattr(speed, name, None)
    return row


def as_csv(columns: Columns) -> bytes:
    """Converts columns to CSV in UTF-8 with commas and line feeds; None is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def as_parquet(columns: Columns) -> bytes:
    """Converts columns to Parquet with one row group and zstd; column types depend only on the names."""
    arrays = {name: pyarrow.array(values, _column_type(name)) for name, values in columns.items()}
    data = io.BytesIO()
    parquet.write_table(pyarrow.table(arrays), data, compression="zstd")
    return data.getvalue()


def _column_type(column: str) -> pyarrow.DataType:
    if column in _TEXTS:
        return pyarrow.string()
    return pyarrow.int64() if column in _INTEGERS else pyarrow.float64()
