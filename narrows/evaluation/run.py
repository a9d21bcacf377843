"""A whole evaluation: every item at every operating point, in processes, each once however often it is begun.

points × items ─▶ trials, kept in a folder ─▶ results, and what a report shows beside them
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

import numpy as np

from narrows.errors import InputError, MediaError, NarrowsError
from narrows.evaluation.bands import Bands
from narrows.evaluation.base import (
    Json,
    Metric,
    NotMeasurable,
    OperatingPoint,
    Sample,
    SetMetric,
    Unavailable,
    identity,
)
from narrows.evaluation.flipped import Flipped
from narrows.evaluation.media import MEDIA, Item
from narrows.evaluation.metrics import metric
from narrows.evaluation.metrics.codebooks import CodebookUse, codebook_use
from narrows.evaluation.ours import NarrowsAudio, NarrowsImage
from narrows.evaluation.results import CODING, Measure, Point, Results, Row, Speed
from narrows.evaluation.speed import measure_speed
from narrows.evaluation.trials import Kept, Trial, attempt, key_of
from narrows.media.atomic import write_bytes
from narrows.media.files import shown
from narrows.records import parsed, record

SPEED_ITEMS = 3
Progress = Callable[[int, int], None]  # trials that are done, and all of them


@dataclass(frozen=True)
class Plan:
    """What is asked for. samples: how many of the items are kept as they were decoded. flips: shares of the bits of
    codes that are flipped, each a point more for every codec with codebooks. speed: measure it too."""

    points: Sequence[OperatingPoint]
    items: Sequence[Item]
    metrics: Sequence[str]
    samples: int = 0
    flips: Sequence[float] = ()
    speed: bool = True
    setup: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """What a run found: the results, and what a report shows beside them, by the names of points."""

    results: Results
    flipped: Mapping[str, Results]  # by the name of the point without flips
    samples: Sequence[Sample]
    bands: Mapping[str, Bands]
    codebooks: Mapping[str, Sequence[CodebookUse]]


def run(plan: Plan, folder: Path, jobs: int, progress: Progress = lambda done, total: None) -> Measured:
    """Do what is not done yet of a plan, and put together all of it.

    folder: where trials are kept; another run finds them there by the bytes of the item and what the point depends on.
    jobs: processes, of one thread each. Points that cannot be run here and items that cannot be read are left out, and
    the results say why. Raises InputError for metrics of another medium or without what they need and for plans without
    points or items that can be had, NarrowsError where a process was killed, MediaError where nothing can be written.
    """
    medium = MEDIA[plan.points[0].medium]
    plan = replace(plan, metrics=list(dict.fromkeys(plan.metrics)), flips=sorted(set(plan.flips)))
    metrics = [_checked(name, medium.name) for name in plan.metrics]
    points, left_out = _available(plan.points)
    with_codes = [p for p in points if isinstance(p, NarrowsAudio | NarrowsImage) and p.codebook_sizes]
    damaged = [Flipped(point, share) for point in with_codes for share in plan.flips]
    if plan.flips and not damaged:
        raise InputError("flips of bits were asked for, and no point has codebooks; leave --flips out")
    kept = Kept(folder / "trials")
    sampled = {item.digest for item in plan.items[: plan.samples]}  # where two are equal, what is kept is of both
    work = [
        (item, point, item.digest in sampled and not isinstance(point, Flipped))
        for item in plan.items
        for point in (*points, *damaged)
    ]
    unread = _carried_out(work, plan.metrics, kept, jobs, progress)
    items = [item for item in plan.items if item.name not in unread]
    if not items:
        raise InputError(f"no item can be read; the first: {next(iter(unread.values()))}")
    found = {point.name: [_there(kept, item, point) for item in items] for point in (*points, *damaged)}
    speeds = dict[str, Speed]()
    for point in points if plan.speed else ():
        try:
            speeds[point.name] = _speed(point, items, folder, plan.setup.get("processor", ""))
        except NarrowsError as error:
            left_out[f"speed of {point.name}"] = str(error)
    measures = [Measure.of(one) for one in metrics]

    def results(some: Iterable[OperatingPoint]) -> Results:
        told = [Point(p.name, p.family, p.setting, dict(p.key), speeds.get(p.name)) for p in some]
        rows = [_asked_for(trial.row, plan.metrics) for point in told for trial in found[point.name]]
        sets = {point.name: _of_sets(metrics, found[point.name]) for point in told}
        return Results(medium.name, told, rows, measures, left_out, dict(plan.setup), unread, sets)

    return Measured(
        results(points),
        {point.name: results(each for each in damaged if each.inner == point) for point in with_codes if plan.flips},
        [_sample(item, points, kept) for item in plan.items[: plan.samples] if item.name not in unread],
        {point.name: total for point in points if (total := _bands(found[point.name])) is not None},
        {point.name: use for point in points if (use := _use(point, found[point.name]))},
    )


def _checked(name: str, medium: str) -> Metric | SetMetric:
    one = metric(name)
    if one.medium != medium:
        raise InputError(f"the metric {name} is of {one.medium}, the points are of {medium}; leave it out")
    one.check()
    return one


def _available(asked: Sequence[OperatingPoint]) -> tuple[list[OperatingPoint], dict[str, str]]:
    points, left_out = list[OperatingPoint](), dict[str, str]()
    for point in asked:
        try:
            point.check()
            points.append(point)
        except Unavailable as error:
            left_out[point.name] = str(error)
    if not points:
        name, reason = next(iter(left_out.items()))
        raise InputError(f"no operating point can be run here; {name}: {reason}")
    return points, left_out


Work = tuple[Item, OperatingPoint, bool]


def _carried_out(
    work: Sequence[Work], metrics: Sequence[str], kept: Kept, jobs: int, progress: Progress
) -> dict[str, str]:
    """Do the trials that are not kept yet; the items that cannot be read, with reasons."""
    todo = [each for each in work if not _complete(kept.find(*each[:2]), metrics, each[2])]
    progress(len(work) - len(todo), len(work))
    unread = dict[str, str]()
    if not todo:
        return unread
    context = multiprocessing.get_context("spawn")
    with _single_threads(), ProcessPoolExecutor(min(jobs, len(todo)), context, _prepare) as pool:
        waiting = {pool.submit(_do, *each, metrics, kept) for each in todo}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
                for future in done:
                    name, reason = future.result()
                    unread |= {name: reason} if reason else {}
                progress(len(work) - len(waiting), len(work))
        except BrokenProcessPool as error:
            raise NarrowsError(
                "a process was killed, perhaps since memory ran out; what is done is kept: run the same command "
                "again, with fewer --jobs"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return unread


@contextmanager
def _single_threads() -> Iterator[None]:
    """Processes that begin within compute on one thread each: libraries read this when they are first imported."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
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


def _prepare() -> None:
    """Ctrl-C is for the parent, which lets what was begun come to its end; if that is killed, this process ends too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(item: Item, point: OperatingPoint, keep: bool, metrics: Sequence[str], kept: Kept) -> tuple[str, str]:
    """The name of the item, and why it cannot be read, if so."""
    earlier = kept.find(item, point)
    if not _complete(earlier, metrics, keep):
        try:
            kept.keep(item, point, attempt(item, point, metrics, keep, earlier))
        except MediaError as error:
            if shown(item.path) not in str(error):
                raise
            return item.name, str(error)
    return item.name, ""


def _complete(trial: Trial | None, metrics: Sequence[str], keep: bool) -> bool:
    if trial is None:
        return False
    if any(trial.asked.get(name) != identity(metric(name)) for name in metrics):
        return False
    return not keep or not trial.row.coded or "decoded" in trial.arrays


def _asked_for(row: Row, metrics: Sequence[str]) -> Row:
    """Without what an earlier run measured beside."""
    values = {name: value for name, value in row.metrics.items() if name in metrics}
    failures = {name: reason for name, reason in row.failures.items() if name in (*metrics, CODING)}
    return replace(row, metrics=values, failures=failures)


def _there(kept: Kept, item: Item, point: OperatingPoint) -> Trial:
    trial = kept.find(item, point)
    if trial is None:
        raise NarrowsError(f"what was measured of {item.name} at {point.name} is gone; run the same command again")
    return trial


def _of_sets(metrics: Iterable[Metric | SetMetric], trials: Sequence[Trial]) -> dict[str, float]:
    """The numbers of all items together that there are, by the names of metrics."""
    found = dict[str, float]()
    for one in metrics:
        pairs = [pair for trial in trials if (pair := trial.features(one.name)) is not None]
        if isinstance(one, SetMetric) and pairs:
            references, decoded = (np.concatenate([pair[side] for pair in pairs]).astype(np.float64) for side in (0, 1))
            with suppress(NotMeasurable):
                found[one.name] = one.distance(references, decoded)
    return found


def _bands(trials: Sequence[Trial]) -> Bands | None:
    known = [trial.bands for trial in trials if trial.bands is not None]
    return reduce(add, known) if known else None


def _use(point: OperatingPoint, trials: Sequence[Trial]) -> list[CodebookUse]:
    codes = [codes.astype(np.int64) for trial in trials if (codes := trial.codes) is not None]
    return codebook_use(codes, point.codebook_sizes) if codes else []


def _sample(item: Item, points: Sequence[OperatingPoint], kept: Kept) -> Sample:
    reference = MEDIA[points[0].medium].read(item.path)
    decoded = {point.name: _there(kept, item, point).decoded(reference) for point in points}
    return Sample(item.name, reference, {name: signal for name, signal in decoded.items() if signal is not None})


def _speed(point: OperatingPoint, items: Sequence[Item], folder: Path, processor: str) -> Speed:
    """Measured once for a point, the first items and a processor, with nothing else running.

    Raises NarrowsError with the reason where it cannot be.
    """
    chosen = items[:SPEED_ITEMS]
    facts: dict[str, Json] = {"speed": 1, "processor": processor, "point": dict(point.key)}
    facts["items"] = [item.digest for item in chosen]
    path = folder / "speed" / f"{key_of(facts)}.json"
    try:
        return record(Speed, parsed(path.read_bytes()))
    except (OSError, InputError):
        pass
    speed = measure_speed(point, [item.path for item in chosen])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, json.dumps(asdict(speed)).encode(), overwrite=True)
    return speed
