"""Measures one item at one operating point (encodes, decodes and compares it), and caches these measurements.

    KEY.json    the result: bytes, metrics, reasons of failures, distortion by band
    KEY.npz     if there are any: codes, features for set metrics, the decoded signal

KEY is a digest of the item's bytes and of everything that the point's results depend on. The JSON is written last and
each file is written atomically, so a measurement is either complete in the cache or not there.
"""

import errno
import hashlib
import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError, NarrowsError
from narrows.evaluation.bands import BandDistortion
from narrows.evaluation.base import Json, NotMeasurable, OperatingPoint, SetMetric, metric_definition
from narrows.evaluation.by_medium import EVALUATIONS
from narrows.evaluation.items import EvaluationItem
from narrows.evaluation.metrics import metric_of
from narrows.evaluation.results import CODING, ItemResult
from narrows.media.atomic import write_bytes
from narrows.media.medium import Signal
from narrows.records import parse_json, to_record

VERSION = 1  # increase when equal inputs give other measurements
TEMPORARY_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO})
Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Measurement:
    """Result of an item at an operating point.

    Args:
        result: Bytes, metrics and failures.
        definitions: `metric_definition` of each metric that was tried, by name.
        bands: Distortion by frequency band; None if undefined.
        arrays: Codes, features and what a report shows of the decoded signal, by name.
    """

    result: ItemResult
    definitions: Mapping[str, str]
    bands: BandDistortion | None = None
    arrays: Arrays = field(default_factory=dict)

    @property
    def codes(self) -> NDArray[np.generic] | None:
        """Codes (K, n) of a codec with codebooks."""
        return self.arrays.get("codes")

    def features(self, name: str) -> tuple[NDArray[np.generic], NDArray[np.generic]] | None:
        """Features of the reference and of the decoded signal for a set metric."""
        pair = self.arrays.get(f"{name}/reference"), self.arrays.get(f"{name}/decoded")
        return None if pair[0] is None or pair[1] is None else (pair[0], pair[1])


class DecodedSignals(Mapping[str, Signal]):
    """What a report shows of an item's decoded signals, by operating point; each is unpacked when it is asked for.

    Args:
        reference: What a report shows of the reference.
        measurements: Measurements by operating point; those without a stored signal are left out.
    """

    def __init__(self, reference: Signal, measurements: Mapping[str, Measurement]) -> None:
        self._reference = reference
        self._arrays = {
            name: found.arrays["decoded"] for name, found in measurements.items() if "decoded" in found.arrays
        }

    def __getitem__(self, name: str) -> Signal:
        return EVALUATIONS[self._reference.medium].unpack(self._arrays[name], self._reference)

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def measure_item(
    item: EvaluationItem,
    point: OperatingPoint,
    metrics: Sequence[str],
    keep_decoded: bool,
    earlier: Measurement | None,
) -> Measurement:
    """Encodes and decodes an item, and computes metrics.

    Args:
        item: The item.
        point: The operating point.
        metrics: Names of the metrics.
        keep_decoded: Whether the result includes what a report shows of the decoded signal.
        earlier: Measurement of the same item and point: its metrics are not computed again.

    Returns:
        The measurement, which includes the earlier measurement. If the point or a metric fails, the result's `failures`
        has the reason.

    Raises:
        MediaError: The item cannot be read.
        OSError, MemoryError: The machine lacks memory, disk space or file handles; the point is not the cause.
    """
    evaluation = EVALUATIONS[point.medium]
    reference = evaluation.read(item.path, item.seconds)
    used = {name: metric_of(name, point.medium) for name in metrics}
    requested = {name: metric_definition(found) for name, found in used.items()}
    usable = earlier if earlier is not None and earlier.result.coded else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            coded = point.round_trip(reference, Path(folder))
        decoded = evaluation.match(coded.signal, reference)
    except Exception as error:
        _raise_if_temporary(error)
        failures = {CODING: _reason(error)} | dict.fromkeys(metrics, "not coded")
        return Measurement(ItemResult(item.name, point.name, reference.amount, 0, failures=failures), requested)
    arrays = dict(usable.arrays) if usable else {}
    values, failures = (dict(usable.result.metrics), dict(usable.result.failures)) if usable else ({}, {})
    definitions = dict(usable.definitions) if usable else {}
    if coded.codes is not None:
        arrays["codes"] = coded.codes.astype(np.int32)
    if keep_decoded:
        arrays["decoded"] = evaluation.pack(decoded)
    for name, found in used.items():
        if definitions.get(name) == requested[name]:
            continue
        definitions[name] = requested[name]
        values.pop(name, None)
        failures.pop(name, None)
        try:
            if isinstance(found, SetMetric):
                arrays |= {f"{name}/reference": found.features(reference), f"{name}/decoded": found.features(decoded)}
            else:
                values[name] = found.measure(reference, decoded)
        except Exception as error:
            _raise_if_temporary(error)
            failures[name] = _reason(error)
    try:
        bands = evaluation.bands(reference, decoded)
    except NotMeasurable:
        bands = None
    sizes = coded.file_bytes, coded.payload_bytes
    result = ItemResult(item.name, point.name, reference.amount, *sizes, values, failures)
    return Measurement(result, definitions, bands, arrays)


class MeasurementCache:
    """A cache of measurements in a folder.

    Args:
        folder: Folder, which is created by the first `store`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, item: EvaluationItem, point: OperatingPoint) -> Measurement | None:
        """The measurement of the item's bytes at this point, with the item's current name; None if not cached."""
        path = self._path(item, point)
        try:
            facts = parse_json(path.read_bytes())
            if not isinstance(facts, dict):
                return None
            array_names, digest = facts.pop("arrays"), facts.pop("digest")
            packed = path.with_suffix(".npz").read_bytes() if array_names else b""
            if digest != _digest(facts, array_names, packed):
                return None
            cached, arrays = to_record(Measurement, facts), _unpack(packed) if array_names else {}
        except (OSError, InputError, LookupError):
            return None
        result = ItemResult(**(asdict(cached.result) | {"item": item.name, "point": point.name}))
        return Measurement(result, cached.definitions, cached.bands, arrays)

    def store(self, item: EvaluationItem, point: OperatingPoint, measurement: Measurement) -> None:
        """Writes a measurement, replacing an older one. Raises MediaError if it cannot be written."""
        path = self._path(item, point)
        path.parent.mkdir(parents=True, exist_ok=True)
        packed = io.BytesIO()
        if measurement.arrays:
            np.savez_compressed(packed, **_file_names(measurement.arrays))
            write_bytes(path.with_suffix(".npz"), packed.getvalue(), overwrite=True)
        facts = {name: value for name, value in asdict(measurement).items() if name != "arrays"}
        facts = json.loads(json.dumps(facts))
        array_names: list[Json] = [*sorted(measurement.arrays)]
        facts |= {"arrays": array_names, "digest": _digest(facts, array_names, packed.getvalue())}
        write_bytes(path, json.dumps(facts, sort_keys=True).encode(), overwrite=True)

    def _path(self, item: EvaluationItem, point: OperatingPoint) -> Path:
        facts: dict[str, Json] = {"measurement": VERSION, "soxr": version("soxr"), "item": item.digest}
        facts |= {"point": dict(point.key)} | ({} if item.seconds is None else {"seconds": item.seconds})
        digest = cache_key(facts)
        return self.folder / digest[:2] / f"{digest}.json"


def cache_key(facts: Json) -> str:
    """Digest of JSON data, 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _digest(facts: Json, array_names: Json, packed: bytes) -> str:
    """Checksum over everything stored of a measurement, to detect damaged files."""
    text = json.dumps([facts, array_names], sort_keys=True).encode()
    return hashlib.sha256(text + packed).hexdigest()


def _file_names(arrays: Arrays) -> dict[str, Any]:
    return {name.replace("/", "|"): array for name, array in arrays.items()}


def _unpack(data: bytes) -> dict[str, NDArray[np.generic]]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name.replace("|", "/"): arrays[name] for name in arrays.files}


def _raise_if_temporary(error: BaseException | None) -> None:
    """Re-raises a lack of memory, disk space or file handles anywhere in the chain of an exception."""
    seen = list[BaseException]()
    while error is not None and error not in seen:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in TEMPORARY_ERRORS):
            raise error
        seen.append(error)
        error = error.__cause__ or error.__context__


def _reason(error: Exception) -> str:
    """The message in one line, with the exception's type unless it is an exception of narrows."""
    text = " ".join(str(error).split())
    own = isinstance(error, NarrowsError | NotMeasurable) and text
    return text if own else f"{type(error).__name__}: {text}".rstrip(": ")
