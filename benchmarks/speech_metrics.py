"""How far decoded speech is from the original: alignment, then one number per metric.

Signals are mono NumPy arrays (T,) at 16 kHz, full scale 1.
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray

try:
    from pesq import PesqError, pesq
    from pystoi import stoi
except ImportError as error:
    raise SystemExit(f"{error}; the metrics of speech need pip install 'narrows[speech]'") from error

Signal = NDArray[np.float32]
RATE = 16_000  # Hz
LONGEST_DELAY = 800  # samples, 50 ms
LEAST_LIKENESS = 0.5  # normalized cross-correlation; below it the peak says nothing about the delay
MEL_WINDOW, MEL_HOP, MELS = 1024, 256, 80
MEL_FLOOR = 1e-4  # magnitude of white noise of deviation 1e-4, 80 dB below full scale: what is quieter counts as equal


def aligned(x: Signal, reference: Signal) -> tuple[Signal, int]:
    """x without its delay and of exactly the reference's length, and the delay in samples.

    The delay is where the cross-correlation within 50 ms either way is largest, and 0 where even there the signals are
    unlike, as those of a decoder that makes up phases are. Missing samples are zeros.
    """
    size = max(len(x) + len(reference), 2 * LONGEST_DELAY + 1)
    correlation = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(reference, size).conj(), size)
    delays = sorted(range(-LONGEST_DELAY, LONGEST_DELAY + 1), key=abs)  # of equals, the one nearest to 0
    delay = delays[int(correlation[delays].argmax())]
    if correlation[delay] < LEAST_LIKENESS * np.linalg.norm(x) * np.linalg.norm(reference):
        delay = 0
    moved = x[delay:] if delay > 0 else np.pad(x, (-delay, 0))
    result = np.zeros_like(reference)
    kept = min(len(moved), len(reference))
    result[:kept] = moved[:kept]
    return result, delay


def pesq_wb(reference: Signal, x: Signal) -> float:
    """PESQ wideband (ITU-T P.862.2), MOS-LQO from 1.04 to 4.64. Raises PesqError when no utterance is found."""
    return float(pesq(RATE, reference, x, "wb"))


def short_time_intelligibility(reference: Signal, x: Signal) -> float:
    """STOI, 0 to 1. Raises RuntimeWarning when too little of the signal is speech."""
    return float(stoi(reference, x, RATE))


def extended_intelligibility(reference: Signal, x: Signal) -> float:
    """ESTOI, 0 to 1. Raises RuntimeWarning when too little of the signal is speech."""
    return float(stoi(reference, x, RATE, extended=True))


def si_sdr(reference: Signal, x: Signal) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, means removed. Not finite for silence or equal signals."""
    target, estimate = reference - reference.mean(dtype=np.float64), x - x.mean(dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        projected = target * ((target @ estimate) / (target @ target))
        distortion = estimate - projected
        return float(10 * np.log10((projected @ projected) / (distortion @ distortion)))


def mel_distance(reference: Signal, x: Signal) -> float:
    """Mean difference in dB of 80 mel bands (slaney, 0 to 8 kHz; Hann window of 1024, hop 256), floor at -80 dB."""
    bank = torchaudio.functional.melscale_fbanks(MEL_WINDOW // 2 + 1, 0.0, RATE / 2, MELS, RATE, mel_scale="slaney")
    bank = bank / bank.sum(0).clamp(min=1e-3)  # each band is a mean of its bins
    window = torch.hann_window(MEL_WINDOW)
    window = window / window.square().sum().sqrt()  # white noise of deviation s has magnitude s
    signals = torch.from_numpy(np.stack((reference, x)))
    spectra = torch.stft(signals, MEL_WINDOW, MEL_HOP, window=window, pad_mode="constant", return_complex=True)
    levels = 20 * (spectra.abs().transpose(1, 2) @ bank).clamp(min=MEL_FLOOR).log10()  # (2, frames, bands)
    return float((levels[0] - levels[1]).abs().mean())


METRICS: dict[str, Callable[[Signal, Signal], float]] = {
    "pesq_wb": pesq_wb,
    "stoi": short_time_intelligibility,
    "estoi": extended_intelligibility,
    "si_sdr_db": si_sdr,
    "mel_db": mel_distance,
}


def scores(reference: Signal, x: Signal) -> dict[str, float | None]:
    """Every metric of two signals of one length; None where it failed or is not finite, and for a silent reference."""
    result: dict[str, float | None] = dict.fromkeys(METRICS)
    if not reference.any():
        return result
    for name, metric in METRICS.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)  # pystoi warns where it cannot measure
                value = metric(reference, x)
        except (PesqError, RuntimeWarning, ValueError):
            value = float("nan")
        result[name] = value if np.isfinite(value) else None
    return result
