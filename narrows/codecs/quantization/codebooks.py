"""Where the codes of a vector quantizer come from, and how they learn.

    EMACodebook       running means of the vectors that chose a code      no gradient
    LearnedCodebook   parameters                                          gradient of the loss 'codebook'
    SimCodebook       a linear map of fixed random vectors                gradient of the loss 'codebook'

V codes of length d. A codebook of cosine distance lives on the unit sphere, and so does what it is compared with.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from narrows.codecs.checks import MOST, check_share, check_whole
from narrows.codecs.quantization import distributed as ranks
from narrows.codecs.quantization.kmeans import gathered, kmeans
from narrows.errors import InputError
from narrows.parts import part

FEWEST = 1e-5  # vectors, less than which have no mean
TINY = 1e-6  # a vector shorter than this has no direction
MOST_ENTRIES = 1 << 24


class Codebook(nn.Module, ABC):
    """V = `entries` vectors of length d = `dim`."""

    def __init__(self, dim: int, entries: int, cosine: bool) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim)
        check_whole(2, MOST_ENTRIES, entries=entries)
        if type(cosine) is not bool or (cosine and dim == 1):
            raise InputError(f"cosine={cosine!r} at dim={dim} given, True or False wanted, True from dim 2 on")
        self.dim, self.entries, self.cosine = dim, entries, cosine

    @abstractmethod
    def table(self) -> Tensor:
        """All codes (V, d) float32, differentiable where they learn by gradient."""

    def place(self, vectors: Tensor) -> Tensor:
        """Vectors (..., d) to where the codes are: the unit sphere, or all of space."""
        return nn.functional.normalize(vectors, dim=-1, eps=TINY) if self.cosine else vectors

    def prepare(self, vectors: Tensor) -> None:
        """Before a training batch of placed vectors (N, d) is quantized."""

    def learn(self, vectors: Tensor, codes: Tensor) -> None:
        """After a training batch of placed vectors (N, d) got its codes (N,)."""


class _Followed(Codebook):
    """A codebook that starts with k-means on its first training batch, and whose unused codes start anew.

    usage: running mean of how many vectors of a batch, over all ranks, chose each code.
    """

    started: Tensor
    usage: Tensor
    vectors: Tensor

    def __init__(self, dim: int, entries: int, cosine: bool, decay: float, kmeans_steps: int, revive: float) -> None:
        super().__init__(dim, entries, cosine)
        check_share(decay=decay, revive=revive)
        check_whole(0, 1000, kmeans_steps=kmeans_steps)
        self.decay, self.kmeans_steps, self.revive = decay, kmeans_steps, revive
        self.register_buffer("started", torch.tensor(False))
        self.register_buffer("usage", torch.ones(entries))

    def table(self) -> Tensor:
        """All codes (V, d) float32."""
        return self.place(self.vectors.float())

    @torch.no_grad()
    def prepare(self, vectors: Tensor) -> None:
        """Start at the first batch; later put codes that are hardly used where a vector drawn from the batch is."""
        vectors = vectors.detach().float()
        if not self.started:
            count = ranks.total(torch.tensor(float(len(vectors)), device=vectors.device))
            everything = torch.ones(self.entries, dtype=torch.bool, device=vectors.device)
            self.usage.fill_(float(count) / self.entries)
            self._put(self.place(kmeans(vectors, self.entries, self.kmeans_steps)), everything)
            self.started.fill_(True)
        unused = self.usage < self.revive * self.usage.mean()
        if unused.any():
            self.usage[unused] = self.usage.mean()
            self._put(ranks.draw(vectors, self.entries), unused)

    @torch.no_grad()
    def learn(self, vectors: Tensor, codes: Tensor) -> None:
        """Follow how often each code is chosen."""
        sums, counts = gathered(vectors.detach().float(), codes, self.entries)
        self.usage.lerp_(counts, 1 - self.decay)
        self._follow(sums)

    def _put(self, vectors: Tensor, where: Tensor) -> None:
        """Replace the codes at `where` (V,) bool by those of vectors (V, d)."""
        self.vectors.data[where] = vectors[where].to(self.vectors.dtype)

    def _follow(self, sums: Tensor) -> None:
        """Learn from the sums (V, d) of the vectors that chose each code."""


@part("ema-codebook")
class EMACodebook(_Followed):
    """Codes are running means of the vectors that chose them (van den Oord et al., arXiv 1711.00937, appendix A.1).

    dim:          d; entries: V.
    decay:        of the running means, a training step.
    cosine:       distances between directions only.
    kmeans_steps: rounds of k-means on the first training batch; at 0 the codes start as vectors drawn from it.
    revive:       a code used less than this share of the mean starts anew from a vector of the batch; 0: never.
    """

    sums: Tensor

    def __init__(
        self,
        dim: int = 8,
        entries: int = 1024,
        decay: float = 0.99,
        cosine: bool = False,
        kmeans_steps: int = 10,
        revive: float = 0.1,
    ) -> None:
        super().__init__(dim, entries, cosine, decay, kmeans_steps, revive)
        self.register_buffer("vectors", self.place(torch.randn(entries, dim)))
        self.register_buffer("sums", self.vectors.clone())

    def _put(self, vectors: Tensor, where: Tensor) -> None:
        super()._put(vectors, where)
        self.sums[where] = self.vectors[where] * self.usage[where, None]

    def _follow(self, sums: Tensor) -> None:
        self.sums.lerp_(sums, 1 - self.decay)
        means = self.place(self.sums / self.usage.clamp(min=FEWEST)[:, None])
        self.vectors.copy_(torch.where(self.usage[:, None] > FEWEST, means, self.vectors))


@part("learned-codebook")
class LearnedCodebook(_Followed):
    """Codes are parameters, moved by the loss 'codebook' (arXiv 1711.00937, equation 3).

    dim:          d; entries: V.
    decay:        of the running mean of how often a code is chosen, a training step.
    cosine:       distances between directions only (ViT-VQGAN, arXiv 2110.04627, section 3.2).
    kmeans_steps: rounds of k-means on the first training batch; at 0 the codes start as vectors drawn from it.
    revive:       a code used less than this share of the mean starts anew from a vector of the batch; 0: never.
    """

    def __init__(
        self,
        dim: int = 8,
        entries: int = 1024,
        decay: float = 0.99,
        cosine: bool = False,
        kmeans_steps: int = 10,
        revive: float = 0.1,
    ) -> None:
        super().__init__(dim, entries, cosine, decay, kmeans_steps, revive)
        self.vectors = nn.Parameter(self.place(torch.randn(entries, dim)))


@part("sim-codebook")
class SimCodebook(Codebook):
    """Codes are a learned linear map of fixed random vectors: all move together (Zhu et al., SimVQ, arXiv 2411.02038).

    dim: d; entries: V.
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
