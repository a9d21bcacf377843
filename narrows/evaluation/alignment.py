"""Time alignment and trimming of decoded signals to their references, before metrics compare them."""

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError
from narrows.evaluation.base import Picture, Signal, Sound

MAX_DELAY = 0.3  # seconds; AAC delays by 2112 samples, 0.264 s at 8 kHz
MIN_CORRELATION = 0.5  # normalized cross-correlation; a lower peak does not indicate a delay


def match_reference(decoded: Signal, reference: Signal) -> tuple[Signal, int]:
    """Aligns decoded audio with its reference; checks that a decoded image has the reference's size.

    Args:
        decoded: Decoded signal.
        reference: Original signal.

    Returns:
        The decoded signal, of the reference's length or size, and the delay that was removed, in samples.

    Raises:
        InputError: Different media, image sizes, sample rates or numbers of channels.
    """
    if isinstance(decoded, Sound) and isinstance(reference, Sound):
        return align(decoded, reference)
    if not isinstance(decoded, Picture) or not isinstance(reference, Picture):
        raise InputError("expected two signals of one medium, got audio and an image")
    if decoded.pixels.shape != reference.pixels.shape:
        expected, got = ("{1} × {0} pixels".format(*x.pixels.shape) for x in (reference, decoded))
        raise InputError(f"expected {expected} as in the reference, got {got}")
    return decoded, 0


def align(decoded: Sound, reference: Sound) -> tuple[Sound, int]:
    """Removes the delay of decoded audio and trims or zero-pads it to the reference's length.

    The delay, common to all channels, is the lag of the largest cross-correlation within ±0.3 seconds. It is 0 if the
    normalized cross-correlation there is at most 0.5, as for decoders that do not preserve phases.

    Args:
        decoded: Audio (C, T').
        reference: Audio (C, T) at the same sample rate.

    Returns:
        The aligned audio (C, T) and the delay in samples, negative where the decoded audio is early.

    Raises:
        InputError: Different sample rates or numbers of channels.
    """
    x, target = decoded.samples, reference.samples
    if (decoded.rate, len(x)) != (reference.rate, len(target)):
        expected, got = (f"{len(s.samples)} channels at {s.rate} Hz" for s in (reference, decoded))
        raise InputError(f"expected {expected} as in the reference, got {got}")
    delay = _delay(x, target, round(MAX_DELAY * reference.rate)) if np.isfinite(x).all() else 0
    result = np.zeros_like(target)
    start, shifted = max(-delay, 0), x[:, max(delay, 0) :]
    length = max(min(shifted.shape[1], target.shape[1] - start), 0)
    result[:, start : start + length] = shifted[:, :length]
    return Sound(result, reference.rate), delay


def _delay(x: NDArray[np.float32], target: NDArray[np.float32], max_delay: int) -> int:
    correlation = _correlation(x, target, max_delay)
    nearest_first = np.argsort(np.abs(np.arange(-max_delay, max_delay + 1)), kind="stable")  # ties: the lag nearest 0
    best = int(nearest_first[correlation[nearest_first].argmax()])
    energies = [float(np.square(s, dtype=np.float64).sum()) for s in (x, target)]
    return best - max_delay if correlation[best] > MIN_CORRELATION * (energies[0] * energies[1]) ** 0.5 else 0


def _correlation(x: NDArray[np.float32], target: NDArray[np.float32], max_delay: int) -> NDArray[np.float64]:
    """Sums of target[c, t] x[c, t + d] over c and t for lags d from -max_delay to max_delay, block by block."""
    size = 1 << (8 * max_delay).bit_length()
    block, total = size - 2 * max_delay, np.zeros(2 * max_delay + 1)
    for start in range(0, target.shape[1], block):
        segment = x[:, max(start - max_delay, 0) : start + block + max_delay].astype(np.float64)
        segment = np.pad(segment, ((0, 0), (max(max_delay - start, 0), 0)))
        spectra = [np.fft.rfft(s, size) for s in (segment, target[:, start : start + block].astype(np.float64))]
        total += np.fft.irfft((spectra[0] * spectra[1].conj()).sum(0), size)[: len(total)]
    return total
