"""Decoded signals brought to the extent of their references, so that metrics compare like with like."""

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError
from narrows.evaluation.base import Picture, Signal, Sound

LONGEST_DELAY = 0.3  # seconds; AAC has 2112 samples of delay, which at 8 kHz are 0.264
LEAST_LIKENESS = 0.5  # normalized cross-correlation; below it the peak says nothing about the delay


def matched(decoded: Signal, reference: Signal) -> tuple[Signal, int]:
    """A decoded sound aligned, a decoded picture as it is; and the delay removed, in samples.

    Raises InputError for pictures of different sizes, sounds of different rates or channels, and for different media.
    """
    if isinstance(decoded, Sound) and isinstance(reference, Sound):
        return aligned(decoded, reference)
    if not isinstance(decoded, Picture) or not isinstance(reference, Picture):
        raise InputError("a sound and a picture given, two signals of one medium wanted")
    if decoded.pixels.shape != reference.pixels.shape:
        given = " decoded from ".join("{1} × {0} pixels".format(*x.pixels.shape) for x in (decoded, reference))
        raise InputError(f"{given} given, one size wanted")
    return decoded, 0


def aligned(decoded: Sound, reference: Sound) -> tuple[Sound, int]:
    """A sound without its delay and of exactly the reference's length, and the delay in samples; ahead is negative.

    The delay, one for all channels, is where the cross-correlation within 0.3 seconds either way is largest, and 0
    where even there the sounds are unlike, as those of a decoder that makes up phases are. Missing samples are zeros.
    Raises InputError for other rates or channels than the reference's.
    """
    x, target = decoded.samples, reference.samples
    if (decoded.rate, len(x)) != (reference.rate, len(target)):
        given = " decoded from ".join(f"{len(s.samples)} channels at {s.rate} Hz" for s in (decoded, reference))
        raise InputError(f"{given} given, one rate and number of channels wanted")
    delay = _delay(x, target, round(LONGEST_DELAY * reference.rate)) if np.isfinite(x).all() else 0
    result = np.zeros_like(target)
    start, moved = max(-delay, 0), x[:, max(delay, 0) :]
    kept = max(min(moved.shape[1], target.shape[1] - start), 0)
    result[:, start : start + kept] = moved[:, :kept]
    return Sound(result, reference.rate), delay


def _delay(x: NDArray[np.float32], target: NDArray[np.float32], longest: int) -> int:
    correlation = _correlation(x, target, longest)
    nearest_first = np.argsort(np.abs(np.arange(-longest, longest + 1)), kind="stable")  # of equals, nearest to 0
    best = int(nearest_first[correlation[nearest_first].argmax()])
    energies = [float(np.square(s, dtype=np.float64).sum()) for s in (x, target)]
    return best - longest if correlation[best] > LEAST_LIKENESS * (energies[0] * energies[1]) ** 0.5 else 0


def _correlation(x: NDArray[np.float32], target: NDArray[np.float32], longest: int) -> NDArray[np.float64]:
    """Sums of target[c, t] x[c, t + d] over c and t for d from -longest to longest, block by block of the target."""
    size = 1 << (8 * longest).bit_length()
    block, total = size - 2 * longest, np.zeros(2 * longest + 1)
    for start in range(0, target.shape[1], block):
        segment = x[:, max(start - longest, 0) : start + block + longest].astype(np.float64)
        segment = np.pad(segment, ((0, 0), (max(longest - start, 0), 0)))
        spectra = [np.fft.rfft(s, size) for s in (segment, target[:, start : start + block].astype(np.float64))]
        total += np.fft.irfft((spectra[0] * spectra[1].conj()).sum(0), size)[: len(total)]
    return total
