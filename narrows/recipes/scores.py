"""What a validation says of decoded speech, beside the losses."""

from torch import Tensor


def speech_scores(reference: Tensor, decoded: Tensor, sample_rate: int) -> dict[str, float]:
    """PESQ (wide band, 16 kHz only) and ESTOI of two signals (T,); empty where their packages are not installed.

    Silent or very short signals have neither score and are left out of the means.
    """
    try:
        from pesq import NoUtterancesError, pesq
        from pystoi import stoi
    except ImportError:
        return {}
    if len(reference) < sample_rate:
        return {}
    a, b = reference.numpy(), decoded.clamp(-1, 1).numpy()
    scores = {"estoi": float(stoi(a, b, sample_rate, extended=True))}
    if sample_rate == 16_000:
        try:
            scores["pesq"] = float(pesq(sample_rate, a, b, "wb"))
        except NoUtterancesError:
            return scores
    return scores
