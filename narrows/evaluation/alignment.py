"""Time alignment and trimming of decoded signals to their references, before metrics compare them."""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError
from narrows.media.audio import Audio
from narrows.media.medium import Signal

MAX_DELAY = 0.3  # seconds; AAC delays by 2112 samples, 0.264 s at 8 kHz
MIN_CORRELATION = 0.5  # normalized cross-correlation; a lower peak does not indicate a delay


def check_size(decoded: Signal, reference: Signal) -> Signal:
    """Returns the decoded signal. Raises InputError unless it has the medium, channels and size of the reference."""
    if (decoded.medium, decoded.array.shape) != (reference.medium, reference.array.shape):
        expected, got = (f"{x.medium} of shape {x.array.shape}" for x in (reference, decoded))
        raise InputError(f"expected {expected} as in the reference, got {got}")
    return decoded


def align(decoded_signal: Signal, reference_signal: Signal) -> tuple[Audio, int]:
    """Removes the delay of decoded audio and trims or zero-pads it to the reference's length.

    The delay, common to all channels, is the lag of the largest cross-correlation within ±0.3 seconds. It is 0 if the
    normalized cross-correlation there is at most 0.5, as for decoders that do not preserve phases.

    Args:
        decoded_signal: Audio (C, T') at any sample rate.
        reference_signal: Audio (C, T).

    Returns:
        The aligned audio (C, T) and the delay in samples, which is negative if the decoded audio is early.

    Raises:
        InputError: The number of channels or the medium differs.
    """
    expected, got = (f"{len(x.array)} channels of {x.medium}" for x in (reference_signal, decoded_signal))
    if got != expected:
        raise InputError(f"expected {expected} as in the reference, got {got}")
    reference = cast(Audio, reference_signal)
    x, target = cast(Audio, decoded_signal).resampled(reference.sample_rate).samples, reference.samples
    delay = _delay(x, target, round(MAX_DELAY * reference.sample_rate)) if np.isfinite(x).all() else 0
    result = np.zeros_like(target)
    start, shifted = max(-delay, 0), x[:, max(delay, 0) :]
    length = max(min(shifted.shape[1], target.shape[1] - start), 0)
    result[:, start : start + length] = shifted[:, :length]
    return Audio(result, reference.sample_rate), delay


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
