"""Runs an evaluation: measures every item at every operating point in worker processes, and caches the measurements.

points × items ─▶ measurements, cached in a folder ─▶ results, samples and bands for the report
"""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from narrows.errors import InputError, MediaError, NarrowsError
from narrows.evaluation.bands import BandDistortion
from narrows.evaluation.base import (
    Json,
    Metric,
    NotMeasurable,
    OperatingPoint,
    SetMetric,
    Unavailable,
    metric_definition,
)
from narrows.evaluation.bit_flips import BitFlips
from narrows.evaluation.by_medium import EVALUATIONS
from narrows.evaluation.items import EvaluationItem
from narrows.evaluation.measurement import (
    DecodedSignals,
    Measurement,
    MeasurementCache,
    cache_key,
    measure_item,
)
from narrows.evaluation.metrics import metric_of
from narrows.evaluation.metrics.codebook_usage import CodebookUsage, codebook_usage
from narrows.evaluation.models import ModelPoint
from narrows.evaluation.results import CODING, ItemResult, MeasuredPoint, MetricInfo, Results, Speed
from narrows.evaluation.speed import measure_speed
from narrows.media.atomic import write_bytes
from narrows.media.files import quoted
from narrows.records import parse_json, to_record
from narrows.report.embedding import MediaSample

SPEED_ITEMS = 3
ProgressCallback = Callable[[int, int], None]  # called with the numbers of finished and of all measurements


@dataclass(frozen=True)
class Plan:
    """The measurements that a run makes.

    Args:
        points: Operating points of one medium.
        items: Media files.
        metrics: Names of metrics; the first is the main metric.
        samples: Number of items whose decoded signals are returned.
        bit_flips: Bit error probabilities; each adds an operating point for every codec with codebooks.
        speed: Whether to measure speed.
        setup: Facts about the run, such as date and processor, by name; they are stored in the results.
    """

    points: Sequence[OperatingPoint]
    items: Sequence[EvaluationItem]
    metrics: Sequence[str]
    samples: int = 0
    bit_flips: Sequence[float] = ()
    speed: bool = True
    setup: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunOutput:
    """Results of a run, and the other data that a report shows.

    Args:
        results: Results without bit flips.
        bit_flips: Results with bit flips, by the name of the point without bit flips.
        samples: What a report shows of the first items.
        bands: Distortion by frequency over all items, by point.
    """

    results: Results
    bit_flips: Mapping[str, Results]
    samples: Sequence[MediaSample]
    bands: Mapping[str, BandDistortion]


def run(plan: Plan, cache: Path, jobs: int, progress: ProgressCallback = lambda done, total: None) -> RunOutput:
    """Makes the measurements of a plan that are not cached yet, and collects all measurements.

    Operating points that cannot run here, metrics whose package or weights are missing and items that cannot be read
    are skipped; the results say why.

    Args:
        plan: Plan of the run.
        cache: Folder of the cache. Measurements are found by the bytes of the item and by the key of the point.
        jobs: Number of worker processes; each has one thread.
        progress: Called as measurements finish.

    Returns:
        Results, samples and distortion by band.

    Raises:
        InputError: A metric is of another medium, or no operating point, metric or item is usable.
        NarrowsError: A worker was killed.
        MediaError: The cache cannot be written.
    """
    medium = EVALUATIONS[plan.points[0].medium].medium
    plan = replace(plan, metrics=list(dict.fromkeys(plan.metrics)), bit_flips=sorted(set(plan.bit_flips)))
    metrics, skipped = _usable([metric_of(name, medium.name) for name in plan.metrics], "metric")
    plan = replace(plan, metrics=[each.name for each in metrics])
    points, without = _usable(plan.points, "operating point")
    skipped |= without
    with_codes = [p for p in points if isinstance(p, ModelPoint) and p.codebook_sizes]
    damaged = [BitFlips(point, p) for point in with_codes for p in plan.bit_flips]
    if plan.bit_flips and not damaged:
        raise InputError("expected a model with codebooks for bit flips, got none; omit --bit-flips")
    measurements = MeasurementCache(cache / "measurements")
    sampled = {item.digest for item in plan.items[: plan.samples]}  # items with equal bytes share a measurement
    tasks = [
        (item, point, item.digest in sampled and not isinstance(point, BitFlips))
        for item in plan.items
        for point in (*points, *damaged)
    ]
    unreadable = _run_missing(tasks, plan.metrics, measurements, jobs, progress)
    items = [item for item in plan.items if item.name not in unreadable]
    if not items:
        raise InputError(f"no item can be read; the first: {next(iter(unreadable.values()))}")
    found = {point.name: [_cached(measurements, item, point) for item in items] for point in (*points, *damaged)}
    speeds = dict[str, Speed]()
    for point in points if plan.speed else ():
        try:
            speeds[point.name] = _speed(point, items, cache, plan.setup.get("processor", ""))
        except NarrowsError as error:
            skipped[f"speed of {point.name}"] = str(error)
    infos = [MetricInfo.of(checked) for checked in metrics]

    def results(selected: Iterable[OperatingPoint]) -> Results:
        measured = [
            MeasuredPoint(
                p.name, p.family, p.setting, dict(p.key), speeds.get(p.name), _codebook_usage(p, found[p.name])
            )
            for p in selected
        ]
        item_results = [_select_metrics(each.result, plan.metrics) for point in measured for each in found[point.name]]
        set_values = {point.name: _set_metrics(metrics, found[point.name]) for point in measured}
        setup = dict(plan.setup)
        return Results(medium.name, measured, item_results, infos, skipped, setup, unreadable, set_values)

    return RunOutput(
        results(points),
        {point.name: results(d for d in damaged if d.point == point) for point in with_codes if plan.bit_flips},
        [_sample(item, points, measurements) for item in plan.items[: plan.samples] if item.name not in unreadable],
        {point.name: total for point in points if (total := _total_bands(found[point.name])) is not None},
    )


class _Checked(Protocol):
    """An operating point or a metric."""

    @property
    def name(self) -> str: ...

    @property
    def check(self) -> Callable[[], None]: ...


Usable = TypeVar("Usable", bound=_Checked)


def _usable(requested: Sequence[Usable], kind: str) -> tuple[list[Usable], dict[str, str]]:
    """The points or metrics that can be used here, and why the others cannot. Raises InputError if none can."""
    usable, skipped = list[Usable](), dict[str, str]()
    for each in requested:
        try:
            each.check()
            usable.append(each)
        except (Unavailable, InputError) as error:
            skipped[each.name] = str(error)
    if not usable:
        name, reason = next(iter(skipped.items()))
        raise InputError(f"no {kind} can be used here; {name}: {reason}")
    return usable, skipped


PendingMeasurement = tuple[EvaluationItem, OperatingPoint, bool]  # the bool: whether to store the decoded signal


def _run_missing(
    tasks: Sequence[PendingMeasurement],
    metrics: Sequence[str],
    cache: MeasurementCache,
    jobs: int,
    progress: ProgressCallback,
) -> dict[str, str]:
    """Makes the measurements that are not cached. Returns the items that cannot be read, with reasons."""
    missing = [task for task in tasks if not _complete(cache.load(*task[:2]), task, metrics)]
    progress(len(tasks) - len(missing), len(tasks))
    unreadable = dict[str, str]()
    if not missing:
        return unreadable
    context = multiprocessing.get_context("spawn")
    with _single_threads(), ProcessPoolExecutor(min(jobs, len(missing)), context, _start_worker) as pool:
        waiting = {pool.submit(_measure_and_store, *task, metrics, cache) for task in missing}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
                for future in done:
                    name, reason = future.result()
                    unreadable |= {name: reason} if reason else {}
                progress(len(tasks) - len(waiting), len(tasks))
        except BrokenProcessPool as error:
            raise NarrowsError(
                "a worker process was killed (possibly out of memory); finished measurements are cached: run the same "
                "command again, with fewer --jobs"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return unreadable


@contextmanager
def _single_threads() -> Iterator[None]:
    """Processes that start in this context use one thread: libraries read these variables when they are imported."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker() -> None:
    """Leaves Ctrl-C to the parent, which lets running tasks finish; ends the worker if the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _measure_and_store(
    item: EvaluationItem, point: OperatingPoint, keep_decoded: bool, metrics: Sequence[str], cache: MeasurementCache
) -> tuple[str, str]:
    """Does one task in a worker. Returns the item's name, and the reason why it cannot be read, or ""."""
    earlier = cache.load(item, point)
    if not _complete(earlier, (item, point, keep_decoded), metrics):
        try:
            cache.store(item, point, measure_item(item, point, metrics, keep_decoded, earlier))
        except MediaError as error:
            if quoted(item.path) not in str(error):
                raise
            return item.name, str(error)
    return item.name, ""


def _complete(measurement: Measurement | None, task: PendingMeasurement, metrics: Sequence[str]) -> bool:
    if measurement is None:
        return False
    found, medium = measurement.definitions, task[1].medium
    if any(found.get(name) != metric_definition(metric_of(name, medium)) for name in metrics):
        return False
    return not task[2] or not measurement.result.coded or "decoded" in measurement.arrays


def _select_metrics(result: ItemResult, metrics: Sequence[str]) -> ItemResult:
    """Removes metrics that only an earlier run requested."""
    values = {name: value for name, value in result.metrics.items() if name in metrics}
    failures = {name: reason for name, reason in result.failures.items() if name in (*metrics, CODING)}
    return replace(result, metrics=values, failures=failures)


def _cached(cache: MeasurementCache, item: EvaluationItem, point: OperatingPoint) -> Measurement:
    measurement = cache.load(item, point)
    if measurement is None:
        raise NarrowsError(f"the measurement of {item.name} at {point.name} is no longer cached; run the command again")
    return measurement


def _set_metrics(metrics: Iterable[Metric | SetMetric], measurements: Sequence[Measurement]) -> dict[str, float]:
    """Values of the set metrics that are defined, by name."""
    found = dict[str, float]()
    for each in metrics:
        pairs = [pair for m in measurements if (pair := m.features(each.name)) is not None]
        if isinstance(each, SetMetric) and pairs:
            references, decoded = (np.concatenate([pair[side] for pair in pairs]).astype(np.float64) for side in (0, 1))
            with suppress(NotMeasurable):
                found[each.name] = each.distance(references, decoded)
    return found


def _total_bands(measurements: Sequence[Measurement]) -> BandDistortion | None:
    known = [measurement.bands for measurement in measurements if measurement.bands is not None]
    return reduce(add, known) if known else None


def _codebook_usage(point: OperatingPoint, measurements: Sequence[Measurement]) -> list[CodebookUsage]:
    codes = [codes.astype(np.int64) for measurement in measurements if (codes := measurement.codes) is not None]
    return codebook_usage(codes, point.codebook_sizes) if codes else []


def _sample(item: EvaluationItem, points: Sequence[OperatingPoint], cache: MeasurementCache) -> MediaSample:
    evaluation = EVALUATIONS[points[0].medium]
    reference = evaluation.excerpt(evaluation.read(item.path, item.seconds))
    found = {point.name: _cached(cache, item, point) for point in points}
    return MediaSample(item.name, reference, DecodedSignals(reference, found))


def _speed(point: OperatingPoint, items: Sequence[EvaluationItem], cache: Path, processor: str) -> Speed:
    """Measures speed on the first items, while nothing else runs. Cached by point, items and processor.

    Raises NarrowsError with the reason if it cannot be measured.
    """
    evaluation, chosen = EVALUATIONS[point.medium], items[:SPEED_ITEMS]
    limits = [limit for limit in (chosen[0].seconds, evaluation.speed_seconds) if limit is not None]
    seconds = min(limits, default=None)
    facts: dict[str, Json] = {"speed": 1, "processor": processor, "point": dict(point.key)}
    facts["items"] = [item.digest for item in chosen]
    if seconds is not None:
        facts["seconds"] = seconds
    path = cache / "speed" / f"{cache_key(facts)}.json"
    try:
        return to_record(Speed, parse_json(path.read_bytes()))
    except (OSError, InputError):
        pass
    speed = measure_speed(point, [item.path for item in chosen], evaluation.speed_rounds, seconds)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, json.dumps(asdict(speed)).encode(), overwrite=True)
    return speed
