"""Similarity of the voices of the original and the decoded signal."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrows.evaluation.base import Metric
from narrows.evaluation.metrics.pairs import Channel, mean_of_channels
from narrows.evaluation.metrics.requirements import package_file
from narrows.evaluation.metrics.segments import RATE, check_length
from narrows.evaluation.spectra import hann, mel_filters, stft
from narrows.media.medium import Signal

# the constants of resemblyzer
LEVEL = 10 ** (-30 / 20)  # RMS; quieter signals are raised to -30 dB below full scale
WINDOW, HOP, MELS = 400, 160, 40  # samples: 25 and 10 ms
FRAMES, STEP = 160, 77  # of a part: 1.6 seconds, 1.3 parts a second
MIN_COVERAGE = 0.75  # of the last part
SIZE = 256  # of the LSTM and of the embedding
BATCH = 64  # parts


def speaker_similarity(reference: Signal, decoded: Signal) -> float:
    """Cosine similarity of the speaker embeddings (Wan et al., arXiv 1710.10467) of both signals, 0 to 1."""
    return mean_of_channels(reference, decoded, _similarity, RATE)


def embedding(x: Channel) -> NDArray[np.float32]:
    """Embedding of a voice, of length 1, as `VoiceEncoder.embed_utterance` of resemblyzer.

    Args:
        x: Audio (T,) at 16 kHz.

    Returns:
        Values (256,) of at least 0.
    """
    import torch

    starts = _part_starts(len(x))
    missing = max((starts[-1] + FRAMES) * HOP - len(x), 0)
    mels = np.concatenate([*_mel_blocks(np.pad(x, (0, missing)))])  # (frames, MELS)
    lstm, linear = _network()
    total = np.zeros(SIZE, np.float32)
    with torch.inference_mode():
        for first in range(0, len(starts), BATCH):
            parts = np.stack([mels[start : start + FRAMES] for start in starts[first : first + BATCH]])
            _, (hidden, _) = lstm(torch.from_numpy(parts))
            found = linear(hidden[-1]).relu()  # (parts, SIZE)
            total += (found / found.norm(dim=1, keepdim=True)).sum(0).numpy()
    return total / np.linalg.norm(total)


def check() -> None:
    """Raises InputError if the package with the weights is missing."""
    _weights()


def _similarity(x: Channel, y: Channel, rate: int) -> float:
    check_length(x, rate)
    return min(float(embedding(_raised(x)) @ embedding(_raised(y))), 1.0)  # rounding


def _raised(x: Channel) -> Channel:
    """Scaled to the RMS `LEVEL` if it is quieter, unless it is silent."""
    level = float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
    return x * np.float32(max(LEVEL / level, 1)) if level else x


def _part_starts(samples: int) -> list[int]:
    """First frame of each part; the last part may reach beyond the end."""
    frames = -(-(samples + 1) // HOP)
    starts = [*range(0, max(1, frames - FRAMES + STEP + 1), STEP)]
    covered = (samples - starts[-1] * HOP) / (FRAMES * HOP)
    return starts[:-1] if covered < MIN_COVERAGE and len(starts) > 1 else starts


def _mel_blocks(x: Channel) -> Iterator[NDArray[np.float32]]:
    """Powers (n, MELS) of mel bands, block by block."""
    filters = mel_filters(RATE, WINDOW, MELS)
    for spectra in stft(x, hann(WINDOW), WINDOW, HOP, "constant"):
        yield ((np.square(spectra.real) + np.square(spectra.imag)) @ filters).astype(np.float32)


@cache
def _network() -> tuple[Any, Any]:
    """The LSTM and the linear layer of resemblyzer, with its weights."""
    import torch

    weights = torch.load(_weights(), map_location="cpu", weights_only=True)["model_state"]
    network = torch.nn.ModuleDict(
        {"lstm": torch.nn.LSTM(MELS, SIZE, 3, batch_first=True), "linear": torch.nn.Linear(SIZE, SIZE)}
    ).eval()
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    return network["lstm"], network["linear"]


def _weights() -> Path:
    return package_file("resemblyzer", "pretrained.pt")


SPEAKER_SIMILARITY = Metric(
    name="speaker-similarity",
    medium="audio",
    unit="",
    better="higher",
    description=(
        "Cosine similarity of the speaker embeddings (Wan et al., arXiv 1710.10467) of original and decoded signal, 0 "
        "to 1, at 16 kHz (other rates are resampled), over parts of 1.6 seconds, without removal of pauses. "
        "Weights of the package resemblyzer."
    ),
    measure=speaker_similarity,
    check=check,
    packages=("resemblyzer", "torch", "soxr"),
)
