"""What a validation says of decoded speech, beside the losses."""

import warnings

from torch import Tensor


def speech_scores(reference: Tensor, decoded: Tensor, sample_rate: int) -> dict[str, float]:
    """PESQ (wide band, 16 kHz only) and ESTOI of two signals (T,); empty where their packages are not installed.

    Signals too short or too quiet to be scored, or not finite, are left out of the means.
    """
    try:
        from pesq import PesqError, pesq
        from pystoi import stoi
    except ImportError:
        return {}
    if len(reference) < sample_rate or not decoded.isfinite().all():
        return {}
    a, b, scores = reference.numpy(), decoded.clamp(-1, 1).numpy(), {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # too little of the signal is speech
        try:
            scores["estoi"] = float(stoi(a, b, sample_rate, extended=True))
            if sample_rate == 16_000:
                scores["pesq"] = float(pesq(sample_rate, a, b, "wb"))
        except (RuntimeWarning, PesqError, ValueError):
            return scores
    return scores
