"""SNR and SI-SDR: ratios of the signal to the sample-by-sample error."""

import numpy as np

from narrows.evaluation.base import Metric, NotMeasurable
from narrows.evaluation.metrics.pairs import Channel, mean_of_channels
from narrows.media.medium import Signal

NEGLIGIBLE = 1e-20  # relative energy of rounding errors


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
    if target @ target <= NEGLIGIBLE * energies[0] or estimate @ estimate <= NEGLIGIBLE * energies[1]:
        raise NotMeasurable("constant")
    projected = target * ((target @ estimate) / (target @ target))
    distortion = estimate - projected
    return _decibels(float(projected @ projected), float(distortion @ distortion), "identical up to scale")


def _decibels(signal: float, error: float, reason_without_error: str) -> float:
    if error <= NEGLIGIBLE * signal:
        raise NotMeasurable(reason_without_error)
    if signal <= NEGLIGIBLE * error:
        raise NotMeasurable("uncorrelated with the reference")
    return 10 * float(np.log10(signal / error))


SNR = Metric(
    name="snr",
    medium="audio",
    unit="dB",
    better="higher",
    description=(
        "Signal-to-noise ratio of the samples. Low for decoders that do not preserve phases, whatever they sound like. "
        "Undefined for identical audio."
    ),
    measure=snr,
)
SI_SDR = Metric(
    name="si-sdr",
    medium="audio",
    unit="dB",
    better="higher",
    description=(
        "Scale-invariant signal-to-distortion ratio of the samples (Le Roux et al., arXiv 1811.02508), means removed. "
        "Low for decoders that do not preserve phases, whatever they sound like. Undefined for audio identical up to "
        "scale."
    ),
    measure=si_sdr,
)
