"""One item at one operating point: coded, decoded, compared; and what is kept of that, so that it is done once.

    KEY.json    what came of it: bytes, metrics, reasons of failure, distortion by band
    KEY.npz     where there are some: codes, features for metrics of sets, the decoded signal

The key is a digest of the item's bytes and of all that the point's results depend on. The JSON is written last, each
file appears complete or not at all, so a trial is either kept or not done.
"""

import errno
import hashlib
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError, NarrowsError
from narrows.evaluation.alignment import matched
from narrows.evaluation.bands import Bands, distortion_by_band
from narrows.evaluation.base import Json, NotMeasurable, OperatingPoint, Picture, SetMetric, Signal, Sound, identity
from narrows.evaluation.media import MEDIA, Item
from narrows.evaluation.metrics import metric
from narrows.evaluation.results import CODING, Row
from narrows.media.atomic import write_bytes
from narrows.records import parsed, record

VERSION = 1  # of what is kept; raised when trials come out otherwise
PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO})  # of errors of the machine
Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Trial:
    """What came of an item at an operating point. asked: the metrics that were, by name, each with its identity."""

    row: Row
    asked: Mapping[str, str]
    bands: Bands | None = None
    arrays: Arrays = field(default_factory=dict)

    @property
    def codes(self) -> NDArray[np.generic] | None:
        """Codes (K, n) of a codec with codebooks."""
        return self.arrays.get("codes")

    def features(self, name: str) -> tuple[NDArray[np.generic], NDArray[np.generic]] | None:
        """Those of the reference and of the decoded signal, for a metric of sets."""
        pair = self.arrays.get(f"{name}/reference"), self.arrays.get(f"{name}/decoded")
        return None if pair[0] is None or pair[1] is None else (pair[0], pair[1])

    def decoded(self, reference: Signal) -> Signal | None:
        """The decoded signal, where it was kept."""
        kept = self.arrays.get("decoded")
        if kept is None:
            return None
        if isinstance(reference, Sound):
            return Sound(kept.astype(np.float32), reference.rate)
        return Picture(kept.astype(np.uint8))


def attempt(item: Item, point: OperatingPoint, metrics: Sequence[str], keep: bool, earlier: Trial | None) -> Trial:
    """Code an item and compare: every metric that was not measured `earlier`, which the result holds too.

    keep: the decoded signal as well. What a point or a metric cannot do is in the row's failures, with the reason.
    Raises MediaError where the item cannot be read, OSError and MemoryError where the machine lacks room: that is no
    fault of the point.
    """
    reference = MEDIA[point.medium].read(item.path)
    identities = {name: identity(metric(name)) for name in metrics}
    kept = earlier if earlier is not None and earlier.row.coded else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            coded = point.code(reference, Path(folder))
        decoded, _ = matched(coded.signal, reference)
    except Exception as error:
        _raise_if_passing(error)
        failures = {CODING: _reason(error)} | dict.fromkeys(metrics, "it was not coded")
        return Trial(Row(item.name, point.name, reference.amount, 0, failures=failures), identities)
    arrays = dict(kept.arrays) if kept else {}
    values, failures = (dict(kept.row.metrics), dict(kept.row.failures)) if kept else ({}, {})
    asked = dict(kept.asked) if kept else {}
    if coded.codes is not None:
        arrays["codes"] = coded.codes.astype(np.int32)
    if keep:
        arrays["decoded"] = decoded.samples if isinstance(decoded, Sound) else decoded.pixels
    for name in metrics:
        if asked.get(name) == identities[name]:
            continue
        asked[name], one = identities[name], metric(name)
        values.pop(name, None)
        failures.pop(name, None)
        try:
            if isinstance(one, SetMetric):
                arrays |= {f"{name}/reference": one.features(reference), f"{name}/decoded": one.features(decoded)}
            else:
                values[name] = one.measure(reference, decoded)
        except Exception as error:
            _raise_if_passing(error)
            failures[name] = _reason(error)
    try:
        bands = distortion_by_band(reference, decoded)
    except NotMeasurable:
        bands = None
    row = Row(item.name, point.name, reference.amount, coded.file_bytes, coded.payload_bytes, values, failures)
    return Trial(row, asked, bands, arrays)


class Kept:
    """Trials in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, item: Item, point: OperatingPoint) -> Trial | None:
        """The trial of this item's bytes at this point, if it is there and whole; under the item's present name."""
        path = self._path(item, point)
        try:
            facts = parsed(path.read_bytes())
            if not isinstance(facts, dict):
                return None
            holds, digest = facts.pop("arrays"), facts.pop("digest")
            packed = path.with_suffix(".npz").read_bytes() if holds else b""
            if digest != _digest(facts, holds, packed):
                return None
            trial, arrays = record(Trial, facts), _unpacked(packed) if holds else {}
        except (OSError, InputError, LookupError):
            return None
        row = Row(**(asdict(trial.row) | {"item": item.name, "point": point.name}))
        return Trial(row, trial.asked, trial.bands, arrays)

    def keep(self, item: Item, point: OperatingPoint, trial: Trial) -> None:
        """Write a trial; one that is there is replaced. Raises MediaError where it cannot be written."""
        path = self._path(item, point)
        path.parent.mkdir(parents=True, exist_ok=True)
        packed = io.BytesIO()
        if trial.arrays:
            np.savez_compressed(packed, **_named(trial.arrays))
            write_bytes(path.with_suffix(".npz"), packed.getvalue(), overwrite=True)
        facts = {name: value for name, value in asdict(trial).items() if name != "arrays"}
        facts = json.loads(json.dumps(facts))
        holds: list[Json] = [*sorted(trial.arrays)]
        told = facts | {"arrays": holds, "digest": _digest(facts, holds, packed.getvalue())}
        write_bytes(path, json.dumps(told, sort_keys=True).encode(), overwrite=True)

    def _path(self, item: Item, point: OperatingPoint) -> Path:
        digest = key_of({"trial": VERSION, "soxr": version("soxr"), "item": item.digest, "point": dict(point.key)})
        return self.folder / digest[:2] / f"{digest}.json"


def key_of(facts: Json) -> str:
    """32 hexadecimal digits that tell these facts from others."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _digest(facts: Json, holds: Json, packed: bytes) -> str:
    """Of all that is kept of a trial, so that what is damaged is known."""
    told = json.dumps([facts, holds], sort_keys=True).encode()
    return hashlib.sha256(told + packed).hexdigest()


def _named(arrays: Arrays) -> dict[str, Any]:
    return {name.replace("/", "|"): array for name, array in arrays.items()}


def _unpacked(data: bytes) -> dict[str, NDArray[np.generic]]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name.replace("|", "/"): arrays[name] for name in arrays.files}


def _raise_if_passing(error: BaseException | None) -> None:
    """Raise what may be otherwise the next time: a lack of room, wherever in the chain of errors it is told."""
    seen = list[BaseException]()
    while error is not None and error not in seen:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in PASSING):
            raise error
        seen.append(error)
        error = error.__cause__ or error.__context__


def _reason(error: Exception) -> str:
    """In one line; with the kind of error where it is none of ours."""
    text = " ".join(str(error).split())
    ours = isinstance(error, NarrowsError | NotMeasurable) and text
    return text if ours else f"{type(error).__name__}: {text}".rstrip(": ")
