"""How much each direction of a codec's latents matters to what its decoder makes of them.

A finished codec may need some directions of its latents far more than others, and the error of latents does not show
it: the scalars of FSQ, for example, all have about the same variance. The metric M of this module is the mean of JᵀJ
over positions, where J is the derivative of what the decoder makes by the latents at a position: eᵀ M e is then, for
small errors e, the error of what is decoded. It is measured once, by differences; training with it stays between
latents.

The error of audio is that of log mel spectra, of images and video that of pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn

from narrows.errors import InputError
from narrows.tokenizers.tokenizer import Tokenizer

MIN_POWER = 1e-6  # smallest variance of a direction of the latents, as a fraction of the largest
SMALLEST = 1e-3  # smallest weight of a direction, as a fraction of the mean weight
STEP = 1.0  # of the differences, in standard deviations of a direction
WINDOW = 1024  # samples of a mel spectrum; zeros follow shorter signals
MEL_FLOOR = 1e-2  # amplitude below which mel spectra are not compared
BATCH = 16


@dataclass(frozen=True)
class Statistics:
    """Statistics of latents.

    Args:
        mean: (D,) float64.
        covariance: (D, D) float64.
    """

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, z: Tensor) -> "Statistics":
        """Those of latents (N, D, *grid)."""
        vectors = z.movedim(1, -1).flatten(0, -2).double()
        centred = vectors - vectors.mean(0)
        return cls(vectors.mean(0), centred.T @ centred / len(centred))

    def components(self) -> tuple[Tensor, Tensor]:
        """Variances (r,) and directions (D, r) of the principal components, the largest first, without empty ones."""
        powers, vectors = torch.linalg.eigh(self.covariance)
        kept = powers > MIN_POWER * powers[-1]
        return powers[kept].flip(0), vectors[:, kept].flip(1)


@torch.inference_mode()
def decoder_metric(tokenizer: Tokenizer, z: Tensor, statistics: Statistics, quality_index: int | None) -> Tensor:
    """The metric (D, D) float64 of a codec's decoder at latents, scaled so that the error of returning means is 1.

    Directions in which the latents do not vary have the mean weight of the others.

    Args:
        tokenizer: with the codec.
        z: latents (N, D, *grid) at which it is measured.
        statistics: of the latents.
        quality_index: at which a decoder of several qualities runs.

    Raises:
        InputError: for a decoder that does not depend on its latents.
    """
    powers, directions = statistics.components()
    features = _features(tokenizer)
    codec, device = tokenizer.codec, tokenizer.device

    def decoded(latents: Tensor) -> Tensor:
        parts = [features(codec.synthesize(part.to(device), quality_index)) for part in latents.split(BATCH)]
        return torch.cat(parts).flatten().cpu()

    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (len(z), 1, *z.shape[2:]), generator=generator) * 2.0 - 1
    before = decoded(z)
    shape = (1, -1, *(1,) * (z.ndim - 2))
    changes = []
    for power, direction in zip(powers, directions.T, strict=True):
        step = (STEP * power.sqrt() * direction).float().view(shape)
        changes.append((decoded(z + signs * step) - before) / (STEP * float(power.sqrt())))
    stacked = torch.stack(changes)
    inner = (stacked @ stacked.T).double()
    if not 0 < float(inner.diagonal().mean()) < inf:
        raise InputError(f"expected a decoder whose output depends on its latents, got one of {tokenizer.name} without")
    inner += SMALLEST * inner.diagonal().mean() * torch.eye(len(inner), dtype=torch.float64)
    rest = torch.eye(len(directions), dtype=torch.float64) - directions @ directions.T
    metric = directions @ inner @ directions.T + inner.diagonal().mean() * rest
    scaled: Tensor = metric / (metric * statistics.covariance).sum()
    return scaled


def _features(tokenizer: Tokenizer) -> Callable[[Tensor], Tensor]:
    """What of decoded signals (B, C, *signal) is compared, (B, ...)."""
    if tokenizer.sample_rate is None:
        return torch.Tensor.float
    from torchaudio.transforms import MelSpectrogram  # type: ignore[import-untyped]

    mel = MelSpectrogram(tokenizer.sample_rate, WINDOW, hop_length=256, n_mels=64, power=1).to(tokenizer.device)
    return lambda x: (mel(nn.functional.pad(x.float(), (0, max(0, WINDOW - x.shape[-1])))) + MEL_FLOOR).log()


def square_root(metric: Tensor) -> Tensor:
    """A matrix R (D, D) with R Rᵀ = metric, symmetric, so that an error e has the size |e R|²."""
    values, vectors = torch.linalg.eigh(metric)
    return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
