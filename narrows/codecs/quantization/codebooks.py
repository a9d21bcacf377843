"""Codebooks of vector quantizers and how they are trained.

    EMACodebook       EMA of the vectors assigned to each code            no gradient
    LearnedCodebook   parameters                                          gradient of the loss 'codebook'
    SimCodebook       a linear map of fixed random vectors                gradient of the loss 'codebook'
    DirectionCodebook parameters, found by their direction alone          gradient of the loss 'codebook'

A codebook has V codes of length d. The codes of a cosine codebook lie on the unit sphere, and so do the vectors that
are compared with them.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from narrows.codecs import distributed as ranks
from narrows.codecs.checks import MAX_SIZE, check_fraction, check_integers
from narrows.codecs.quantization.kmeans import kmeans, sum_by_code
from narrows.codecs.quantization.search import nearest
from narrows.errors import InputError
from narrows.parts import part

MIN_USAGE = 1e-5  # a code with fewer vectors per batch is not updated
MIN_NORM = 1e-6  # shorter vectors are divided by this instead of by their norm
MAX_ENTRIES = 1 << 24


class Codebook(nn.Module, ABC):
    """Base class of codebooks: V = `entries` codes of length d = `dim`."""

    kind: ClassVar[str] = "codebook"

    def __init__(self, dim: int, entries: int, cosine: bool) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim)
        check_integers(2, MAX_ENTRIES, entries=entries)
        if type(cosine) is not bool or (cosine and dim == 1):
            raise InputError(f"expected cosine to be True or False, and False for dim=1, got {cosine!r}, dim={dim}")
        self.dim, self.entries, self.cosine = dim, entries, cosine

    @abstractmethod
    def table(self) -> Tensor:
        """All codes (V, d) float32, differentiable if they are trained by gradient."""

    def normalize(self, vectors: Tensor) -> Tensor:
        """Vectors (..., d), scaled to unit length if the codebook is a cosine codebook."""
        return nn.functional.normalize(vectors, dim=-1, eps=MIN_NORM) if self.cosine else vectors

    def search(self, vectors: Tensor) -> Tensor:
        """Index (N,) int64 of the code of each normalised vector (N, d)."""
        return nearest(vectors, self.table())

    def prepare(self, vectors: Tensor) -> None:
        """Called before a training batch of normalised vectors (N, d) is quantized."""

    def update(self, vectors: Tensor, codes: Tensor) -> None:
        """Called after a training batch of normalised vectors (N, d) got its codes (N,)."""


class _UsageTrackingCodebook(Codebook):
    """A codebook with k-means initialisation and dead-code replacement.

    Batches with NaN or infinity neither initialise nor change the codebook.

    Attributes:
        usage: for each code, EMA of the number of vectors of a batch, over all ranks, that are assigned to it.
    """

    initialized: Tensor
    usage: Tensor
    vectors: Tensor

    def __init__(
        self, dim: int, entries: int, cosine: bool, decay: float, kmeans_steps: int, dead_code_threshold: float
    ) -> None:
        super().__init__(dim, entries, cosine)
        check_fraction(decay=decay, dead_code_threshold=dead_code_threshold)
        check_integers(0, 1000, kmeans_steps=kmeans_steps)
        self.decay, self.kmeans_steps, self.dead_code_threshold = decay, kmeans_steps, dead_code_threshold
        self.register_buffer("initialized", torch.tensor(False))
        self.register_buffer("usage", torch.ones(entries))

    def table(self) -> Tensor:
        """All codes (V, d) float32."""
        return self.normalize(self.vectors.float())

    @torch.no_grad()
    def prepare(self, vectors: Tensor) -> None:
        """Initialise from the first batch; later replace dead codes by random vectors of the batch."""
        vectors = vectors.detach().float()
        if not self.initialized:
            totals = ranks.total(torch.stack([vectors.new_tensor(float(len(vectors))), vectors.sum()]))
            count, total = totals.tolist()
            if not -torch.inf < total < torch.inf:
                return
            everything = torch.ones(self.entries, dtype=torch.bool, device=vectors.device)
            self.usage.fill_(count / self.entries)
            self._replace(self.normalize(kmeans(vectors, self.entries, self.kmeans_steps)), everything)
            self.initialized.fill_(True)
        dead = self.usage < self.dead_code_threshold * self.usage.mean()
        if dead.any():
            drawn = ranks.draw(vectors, self.entries)
            dead = dead & drawn.isfinite().all(1)
            self.usage[dead] = self.usage.mean()
            self._replace(drawn, dead)

    @torch.no_grad()
    def update(self, vectors: Tensor, codes: Tensor) -> None:
        """Update the EMA of the usage, and the vectors if they depend on it."""
        sums, counts = sum_by_code(vectors.detach().float(), codes, self.entries)
        finite = sums.isfinite().all()
        self.usage.copy_(torch.where(finite, self.usage.lerp(counts, 1 - self.decay), self.usage))
        self._update_vectors(sums, finite)

    def _replace(self, vectors: Tensor, where: Tensor) -> None:
        """Replace the codes where `where` (V,) bool is true by the vectors (V, d) there."""
        self.vectors.data[where] = vectors[where].to(self.vectors.dtype)

    def _update_vectors(self, sums: Tensor, finite: Tensor) -> None:
        """Update the codes from the sums (V, d) of the vectors assigned to each code, if the sums are finite."""


@part("ema-codebook")
class EMACodebook(_UsageTrackingCodebook):
    """Codes are EMAs of the vectors assigned to them (van den Oord et al., arXiv 1711.00937, appendix A.1).

    Args:
        dim: length d of the codes.
        entries: number of codes V.
        decay: decay of the EMA, per training step.
        cosine: compare directions only.
        kmeans_steps: iterations of k-means on the first training batch; 0: start from random vectors of that batch.
        dead_code_threshold: a code whose usage is less than this fraction of the mean is replaced by a random vector of
            the batch; 0: never.
    """

    sums: Tensor

    def __init__(
        self,
        dim: int = 8,
        entries: int = 1024,
        decay: float = 0.99,
        cosine: bool = False,
        kmeans_steps: int = 10,
        dead_code_threshold: float = 0.1,
    ) -> None:
        super().__init__(dim, entries, cosine, decay, kmeans_steps, dead_code_threshold)
        self.register_buffer("vectors", self.normalize(torch.randn(entries, dim)))
        self.register_buffer("sums", self.vectors.clone())

    def _replace(self, vectors: Tensor, where: Tensor) -> None:
        super()._replace(vectors, where)
        self.sums[where] = self.vectors[where] * self.usage[where, None]

    def _update_vectors(self, sums: Tensor, finite: Tensor) -> None:
        self.sums.copy_(torch.where(finite, self.sums.lerp(sums, 1 - self.decay), self.sums))
        means = self.normalize(self.sums / self.usage.clamp(min=MIN_USAGE)[:, None])
        self.vectors.copy_(torch.where(finite & (self.usage[:, None] > MIN_USAGE), means, self.vectors))


@part("learned-codebook")
class LearnedCodebook(_UsageTrackingCodebook):
    """Codes are parameters, trained by the loss 'codebook' (arXiv 1711.00937, equation 3).

    Args:
        dim: length d of the codes.
        entries: number of codes V.
        decay: decay of the EMA of the usage, per training step.
        cosine: compare directions only (ViT-VQGAN, arXiv 2110.04627, section 3.2).
        kmeans_steps: iterations of k-means on the first training batch; 0: start from random vectors of that batch.
        dead_code_threshold: a code whose usage is less than this fraction of the mean is replaced by a random vector of
            the batch; 0: never.
    """

    def __init__(
        self,
        dim: int = 8,
        entries: int = 1024,
        decay: float = 0.99,
        cosine: bool = False,
        kmeans_steps: int = 10,
        dead_code_threshold: float = 0.1,
    ) -> None:
        super().__init__(dim, entries, cosine, decay, kmeans_steps, dead_code_threshold)
        self.vectors = nn.Parameter(self.normalize(torch.randn(entries, dim)))


@part("direction-codebook")
class DirectionCodebook(LearnedCodebook):
    """Codes of any length, of which the one with the most similar direction is chosen (descript-audio-codec, vq).

    Unlike with a cosine codebook, what is decoded is not of unit length.

    Args:
        dim: length d of the codes, at least 2.
        entries: number of codes V.
        decay: decay of the EMA of the usage, per training step.
        kmeans_steps: iterations of k-means on the first training batch; 0: start from random vectors of that batch.
        dead_code_threshold: a code whose usage is less than this fraction of the mean is replaced by a random vector of
            the batch; 0: never.
    """

    def __init__(
        self,
        dim: int = 8,
        entries: int = 1024,
        decay: float = 0.99,
        kmeans_steps: int = 10,
        dead_code_threshold: float = 0.1,
    ) -> None:
        check_integers(2, MAX_SIZE, dim=dim)  # all vectors of one number have the same or the opposite direction
        super().__init__(dim, entries, decay, False, kmeans_steps, dead_code_threshold)

    def search(self, vectors: Tensor) -> Tensor:
        """Index (N,) int64 of the code with the largest cosine similarity to each vector (N, d)."""
        directions = nn.functional.normalize(self.table(), dim=-1)
        return nearest(nn.functional.normalize(vectors, dim=-1), directions)


@part("sim-codebook")
class SimCodebook(Codebook):
    """Codes are a learned linear map of fixed random vectors, so all are trained together (SimVQ, arXiv 2411.02038).

    Args:
        dim: length d of the codes.
        entries: number of codes V.
    """

    fixed: Tensor

    def __init__(self, dim: int = 8, entries: int = 1024) -> None:
        super().__init__(dim, entries, cosine=False)
        self.register_buffer("fixed", torch.randn(entries, dim) * dim**-0.5)
        self.map = nn.Linear(dim, dim)

    def table(self) -> Tensor:
        """All codes (V, d) float32."""
        with torch.autocast(self.fixed.device.type, enabled=False):
            return nn.functional.linear(self.fixed.float(), self.map.weight.float(), self.map.bias.float())
