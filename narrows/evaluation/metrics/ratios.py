"""Ratios of a signal to its error, sample by sample."""

import numpy as np

from narrows.evaluation.base import Metric, NotMeasurable, Signal
from narrows.evaluation.metrics.pairs import Channel, mean_of_channels

NOTHING = 1e-20  # of the energy: what rounding leaves where nothing should be


def snr(reference: Signal, decoded: Signal) -> float:
    """Signal-to-noise ratio in dB."""
    return mean_of_channels(reference, decoded, _snr)


def si_sdr(reference: Signal, decoded: Signal) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., arXiv 1811.02508, eq. 3), means removed."""
    return mean_of_channels(reference, decoded, _si_sdr)


def _snr(x: Channel, y: Channel, rate: int) -> float:
    target = x.astype(np.float64)
    error = y - target
    return _decibels(float(target @ target), float(error @ error), "identical")


def _si_sdr(x: Channel, y: Channel, rate: int) -> float:
    target, estimate = x.astype(np.float64), y.astype(np.float64)
    energies = target @ target, estimate @ estimate
    target, estimate = target - target.mean(), estimate - estimate.mean()
    if target @ target <= NOTHING * energies[0] or estimate @ estimate <= NOTHING * energies[1]:
        raise NotMeasurable("constant")
    projected = target * ((target @ estimate) / (target @ target))
    distortion = estimate - projected
    return _decibels(float(projected @ projected), float(distortion @ distortion), "identical but for its scale")


def _decibels(signal: float, error: float, without_error: str) -> float:
    if error <= NOTHING * signal:
        raise NotMeasurable(without_error)
    if signal <= NOTHING * error:
        raise NotMeasurable("nothing of the reference is in it")
    return 10 * float(np.log10(signal / error))


SNR = Metric(
    "snr",
    "audio",
    "dB",
    "higher",
    "Signal-to-noise ratio of the samples. Decoders that make up phases score low whatever they sound like. Not of "
    "identical sounds.",
    snr,
)
SI_SDR = Metric(
    "si-sdr",
    "audio",
    "dB",
    "higher",
    "Scale-invariant signal-to-distortion ratio of the samples (Le Roux et al., arXiv 1811.02508), means removed. "
    "Decoders that make up phases score low whatever they sound like. Not of sounds identical but for their scale.",
    si_sdr,
)
