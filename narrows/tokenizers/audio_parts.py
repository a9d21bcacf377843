"""A part of a recording: the samples that it needs at the rate of a codec, and cutting it out of blocks."""

from collections.abc import Iterable, Iterator
from math import gcd

from narrows.errors import InputError, shortened
from narrows.media.extents import AudioExtent
from narrows.tokenizers.resampling import Block
from narrows.tokenizers.settings import Progress, check_numbers

MARGIN = 4096  # samples at the lower rate, more than the filter of the resampler reaches to each side


def part_of(extent: AudioExtent, start: float, stop: float | None) -> tuple[int, int]:
    """The samples [first, last) from `start` to `stop` seconds; None for the end.

    Raises InputError for a part that is empty or not within the recording.
    """
    check_numbers(start=start, stop=stop)
    end = extent.samples / extent.sample_rate
    try:
        first = round(start * extent.sample_rate)
        last = extent.samples if stop is None else round(stop * extent.sample_rate)
    except (ValueError, OverflowError) as error:
        raise InputError(f"expected start and stop in seconds, got {shortened(start)} and {shortened(stop)}") from error
    if not 0 <= first < last <= extent.samples:
        given = f"{start:g} to {end if stop is None else stop:g}"
        raise InputError(f"expected a part of 0 to {end:.6g} s of at least a sample, got {given} s")
    return first, last


def source_of(first: int, last: int, rate: int, source_rate: int, source_samples: int) -> tuple[slice, int]:
    """The samples at the source rate that the samples [first, last) at `rate` are resampled from.

    The source starts where a sample of both rates lies at one time, so that resampling it gives the same phases.

    Returns:
        The source samples, and the number of resampled ones that come before `first`.
    """
    if rate == source_rate:
        return slice(first, last), 0
    common = gcd(rate, source_rate)
    period, source_period = rate // common, source_rate // common
    margin = -(-MARGIN // min(period, source_period))  # periods
    begin, end = max(0, first // period - margin), -(-last // period) + margin
    return slice(begin * source_period, min(source_samples, end * source_period)), first - begin * period


def take(blocks: Iterable[Block], skip: int, count: int) -> Iterator[Block]:
    """The blocks (C, n) of the samples from `skip` on, `count` in all."""
    for block in blocks:
        piece = block[:, skip : skip + count]
        skip = max(0, skip - block.shape[1])
        count -= piece.shape[1]
        if piece.shape[1]:
            yield piece
        if not count:
            return


def reported(blocks: Iterable[Block], samples: int, progress: Progress) -> Iterator[Block]:
    """The blocks (C, n), of `samples` in all; after each, the fraction until then is reported."""
    done = 0
    for block in blocks:
        yield block
        done += block.shape[1]
        progress(done / samples)
