"""Quality metrics of decoded speech that validation logs beside the losses."""

import warnings

from torch import Tensor


def speech_metrics(reference: Tensor, decoded: Tensor, sample_rate: int) -> dict[str, float]:
    """Compute PESQ (wide band, at 16 kHz only) and ESTOI.

    Args:
        reference: Original signal (T,).
        decoded: Decoded signal (T,).
        sample_rate: Sample rate of both in Hz.

    Returns:
        The metrics "pesq" and "estoi". A metric is missing if its package is not installed, or if the signal is shorter
        than a second, has too little speech or is not finite.
    """
    try:
        from pesq import PesqError, pesq
        from pystoi import stoi
    except ImportError:
        return {}
    if len(reference) < sample_rate or not decoded.isfinite().all():
        return {}
    x, y, metrics = reference.numpy(), decoded.clamp(-1, 1).numpy(), {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # pystoi: too little of the signal is speech
        try:
            metrics["estoi"] = float(stoi(x, y, sample_rate, extended=True))
            if sample_rate == 16_000:
                metrics["pesq"] = float(pesq(sample_rate, x, y, "wb"))
        except (RuntimeWarning, PesqError, ValueError):
            return metrics
    return metrics
