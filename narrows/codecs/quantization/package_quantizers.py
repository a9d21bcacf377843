"""How the quantizers of vector-quantize-pytorch are run, family by family.

A `Quantizer` gives all of them one interface: sequences (B, N, D) float32 in, codes (B, N, K) out, and back. Training
runs the package's own forward. In eval mode codes of codebooks are found by search.py: the same ones up to ties, in
bounded memory and without host synchronisation.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from narrows.codecs.quantization.search import max_inner_product, nearest

Trained = tuple[Tensor, Tensor, dict[str, Tensor]]  # latents (B, N, D), codes (B, N, K), losses


class Quantizer(ABC):
    """Runs one family of quantizers; `module` is a quantizer of the package. Sequences x are (B, N, D) float32."""

    options_of: tuple[str, ...] = ()  # other classes of the package whose options are accepted too

    def __init__(self, module: nn.Module) -> None:
        self.module: Any = module

    @property
    @abstractmethod
    def codebook_sizes(self) -> tuple[int, ...]:
        """Sizes of the K codebooks."""

    @property
    def levels(self) -> tuple[int, ...] | None:
        """Levels of the digits of each code, the least significant first, or None for a codebook."""
        return None

    @property
    def prefixes(self) -> tuple[int, ...]:
        """Numbers of codebooks that can be decoded."""
        count = len(self.codebook_sizes)
        if not getattr(self.module, "quantize_dropout", False):
            return (count,)
        least, step = self.module.quantize_dropout_cutoff_index + 1, self.module.quantize_dropout_multiple_of
        return tuple(sorted({min(count, math.ceil(kept / step) * step) for kept in range(least, count + 1)}))

    @abstractmethod
    def train(self, x: Tensor) -> Trained:
        """The package's training forward; codes of dropped codebooks are -1."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Encode x to codes (B, N, K)."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, N, k) to latents (B, N, D)."""


class _VectorQuantize(Quantizer):
    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return (self.module.codebook_size,) * self.module.heads

    def train(self, x: Tensor) -> Trained:
        latents, codes, _, parts = self.module(x, return_loss_breakdown=True)
        losses = {}
        if self.module.has_commitment_loss:
            losses["joint" if self.module.learnable_codebook else "commitment"] = parts.commitment
        if self.module.has_codebook_diversity_loss:
            losses["diversity"] = parts.codebook_diversity
        if self.module.has_codebook_orthogonal_loss:
            losses["orthogonal"] = parts.orthogonal_reg
        return latents, codes.unsqueeze(-1) if codes.ndim == 2 else codes, losses

    def encode(self, x: Tensor) -> Tensor:
        vectors = self.module.project_in(x).unflatten(-1, (self.module.heads, -1)).unbind(-2)
        codes = [_search(head, self._table(index), self.cosine) for index, head in enumerate(vectors)]
        return torch.stack(codes, -1)

    def decode(self, codes: Tensor) -> Tensor:
        vectors = [self._table(index)[head] for index, head in enumerate(codes.unbind(-1))]
        return self.module.project_out(torch.cat(vectors, -1))

    @property
    def cosine(self) -> bool:
        return self.module.use_cosine_sim

    def _table(self, head: int) -> Tensor:
        return self.module._codebook.embed[head if self.module.separate_codebook_per_head else 0]


class _SimVQ(Quantizer):
    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return (self.module.codebook_size,)

    def train(self, x: Tensor) -> Trained:
        latents, codes, loss = self.module(x)
        return latents, codes.unsqueeze(-1), {"joint": loss}

    def encode(self, x: Tensor) -> Tensor:
        return _search(x, self.module.codebook, False).unsqueeze(-1)

    def decode(self, codes: Tensor) -> Tensor:
        return self.module.codebook[codes[..., 0]]


class _ResidualVQ(Quantizer):
    options_of = ("VectorQuantize",)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return tuple(layer.codebook_size for layer in self.module.layers)

    def train(self, x: Tensor) -> Trained:
        latents, codes, losses = self.module(x)
        return latents, codes, self._losses(losses.sum())

    def _losses(self, total: Tensor) -> dict[str, Tensor]:
        layer = self.module.layers[0]
        other = layer.learnable_codebook or layer.has_codebook_diversity_loss or layer.has_codebook_orthogonal_loss
        if other or not layer.has_commitment_loss:
            return {"joint": total}
        return {"commitment": total / layer.commitment_weight}

    def encode(self, x: Tensor) -> Tensor:
        residual, codes = self._project("project_in", x), []
        for index in range(len(self.codebook_sizes)):
            table = self._table(index)
            codes.append(_search(residual, table, getattr(self.module.layers[index], "use_cosine_sim", False)))
            residual = residual - table[codes[-1]]
        return torch.stack(codes, -1)

    def decode(self, codes: Tensor) -> Tensor:
        total: Tensor | float = 0.0
        for index, stage in enumerate(codes.unbind(-1)):
            total = total + self._table(index)[stage]
        return self._project("project_out", cast(Tensor, total))

    def _table(self, index: int) -> Tensor:
        return self.module.layers[index]._codebook.embed[0]

    def _project(self, name: str, x: Tensor) -> Tensor:
        return getattr(self.module, name)(x)


class _ResidualSimVQ(_ResidualVQ):
    options_of = ("SimVQ",)

    def _losses(self, total: Tensor) -> dict[str, Tensor]:
        return {"joint": total}

    def _table(self, index: int) -> Tensor:
        return self.module.layers[index].codebook

    def _project(self, name: str, x: Tensor) -> Tensor:
        return x


class _FSQ(Quantizer):
    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return (self.module.codebook_size,) * self.module.num_codebooks

    @property
    def levels(self) -> tuple[int, ...] | None:
        return tuple(self.module._levels.tolist())

    def train(self, x: Tensor) -> Trained:
        latents, codes = self.module(x)
        return latents, self._with_axis(codes), {}

    def encode(self, x: Tensor) -> Tensor:
        return self._with_axis(self.module(x)[1])

    def decode(self, codes: Tensor) -> Tensor:
        return self.module.indices_to_codes(codes if self.module.keep_num_codebooks_dim else codes[..., 0])

    def _with_axis(self, codes: Tensor) -> Tensor:
        return codes if self.module.keep_num_codebooks_dim else codes.unsqueeze(-1)


class _LFQ(_FSQ):
    @property
    def levels(self) -> tuple[int, ...] | None:
        return (2,) * self.module.codebook_dim

    def train(self, x: Tensor) -> Trained:
        (latents, codes, _), parts = self.module(x, return_loss_breakdown=True)
        losses = {"sample_entropy": parts.per_sample_entropy, "diversity": -parts.batch_entropy}
        if self.module.commitment_loss_weight > 0:
            losses["commitment"] = parts.commitment
        return latents, self._with_axis(codes), losses


class _ResidualFSQ(Quantizer):
    options_of = ("FSQ",)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return tuple(layer.codebook_size for layer in self.module.layers)

    @property
    def levels(self) -> tuple[int, ...] | None:
        return _FSQ(self.module.layers[0]).levels

    def train(self, x: Tensor) -> Trained:
        latents, codes = self.module(x)
        return latents, codes, {}

    def encode(self, x: Tensor) -> Tensor:
        return self.module(x)[1]

    def decode(self, codes: Tensor) -> Tensor:
        total: Tensor | float = 0.0
        for layer, scale, stage in zip(self.module.layers, self._scales(), codes.unbind(-1), strict=False):
            total = total + layer.indices_to_codes(stage) * scale
        return self.module.project_out(total)

    def _scales(self) -> Sequence[Any]:
        return self.module.scales.unbind()


class _ResidualLFQ(_ResidualFSQ):
    options_of = ("LFQ",)

    @property
    def levels(self) -> tuple[int, ...] | None:
        return _LFQ(self.module.layers[0]).levels

    def train(self, x: Tensor) -> Trained:
        latents, codes, losses = self.module(x)
        return latents, codes, {"joint": losses.sum()}

    def _scales(self) -> Sequence[Any]:
        return (1.0,) * len(self.module.layers)  # its codes are scaled already


class _LatentQuantize(Quantizer):
    """Codes are computed and decoded from the learned values; the package's own indices assume the initial ones."""

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return (self.module.codebook_size,) * self.module.num_codebooks

    @property
    def levels(self) -> tuple[int, ...] | None:
        return tuple(self.module._levels.tolist())

    def train(self, x: Tensor) -> Trained:
        latents, _, loss = self.module(x.transpose(1, 2))
        return latents.transpose(1, 2), self.encode(x), {"joint": loss}

    def encode(self, x: Tensor) -> Tensor:
        scalars = self.module.project_in(x).unflatten(-1, (self.module.num_codebooks, -1)).unbind(-1)
        pairs = zip(scalars, self.module.values_per_latent, strict=True)
        levels = torch.stack([(scalar.unsqueeze(-1) - values).abs().argmin(-1) for scalar, values in pairs], -1)
        return (levels * self.module._basis).sum(-1)

    def decode(self, codes: Tensor) -> Tensor:
        levels = (codes.unsqueeze(-1) // self.module._basis % self.module._levels).unbind(-1)
        pairs = zip(levels, self.module.values_per_latent, strict=True)
        return self.module.project_out(torch.stack([values[level] for level, values in pairs], -1).flatten(-2))


class _BinaryMapper(Quantizer):
    """A binary mapper with linear layers from D to the logits of the bits, and from one-hot codes to D."""

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return (self.module.mapper.num_codes,)

    @property
    def levels(self) -> tuple[int, ...] | None:
        return (2,) * self.module.mapper.bits

    def train(self, x: Tensor) -> Trained:
        one_hot, codes, loss = self.module.mapper(self.module.project_in(x), return_indices=True)
        return self.module.project_out(one_hot), codes.unsqueeze(-1), {"kl": loss}

    def encode(self, x: Tensor) -> Tensor:
        bits = (self.module.project_in(x).sigmoid() > 0.5).long()
        return (self.module.mapper.power_two * bits).sum(-1, keepdim=True)

    def decode(self, codes: Tensor) -> Tensor:
        return self.module.project_out.weight.T[codes[..., 0]] + self.module.project_out.bias


class _Grouped(Quantizer):
    """Groups of channels, each with a residual quantizer; codebooks are ordered by stage, then by group."""

    member: type[Quantizer]

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.members = [self.member(group) for group in self.module.rvqs]

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return tuple(size for stage in zip(*(m.codebook_sizes for m in self.members), strict=True) for size in stage)

    @property
    def levels(self) -> tuple[int, ...] | None:
        return self.members[0].levels

    @property
    def prefixes(self) -> tuple[int, ...]:
        return tuple(len(self.members) * count for count in self.members[0].prefixes)

    def train(self, x: Tensor) -> Trained:
        latents, codes, *losses = self.module(x)
        total = self.member_losses(losses[0].sum()) if losses else {}
        return latents, self._interleave(list(codes)), total

    def member_losses(self, total: Tensor) -> dict[str, Tensor]:
        member = self.members[0]
        return member._losses(total) if isinstance(member, _ResidualVQ) else {"joint": total}

    def encode(self, x: Tensor) -> Tensor:
        groups = x.chunk(len(self.members), -1)
        return self._interleave([member.encode(group) for member, group in zip(self.members, groups, strict=True)])

    def decode(self, codes: Tensor) -> Tensor:
        groups = codes.unflatten(-1, (-1, len(self.members))).unbind(-1)
        return torch.cat([member.decode(group) for member, group in zip(self.members, groups, strict=True)], -1)

    def _interleave(self, groups: list[Tensor]) -> Tensor:
        return torch.stack(groups, -1).flatten(-2)


class _GroupedResidualVQ(_Grouped):
    member = _ResidualVQ
    options_of = ("ResidualVQ", "VectorQuantize")


class _GroupedResidualFSQ(_Grouped):
    member = _ResidualFSQ
    options_of = ("ResidualFSQ", "FSQ")


class _GroupedResidualLFQ(_Grouped):
    member = _ResidualLFQ
    options_of = ("ResidualLFQ", "LFQ")


class MapperWithProjections(nn.Module):
    def __init__(self, dim: int, mapper: Any) -> None:
        super().__init__()
        self.mapper = mapper
        self.project_in, self.project_out = nn.Linear(dim, mapper.bits), nn.Linear(mapper.num_codes, dim)


def _search(vectors: Tensor, table: Tensor, cosine: bool) -> Tensor:
    """Codes (B, N) of vectors (B, N, d) in a table (V, d)."""
    flat = vectors.flatten(0, -2)
    codes = max_inner_product(flat, table, table.new_zeros(table.shape[0])) if cosine else nearest(flat, table)
    return codes.view(vectors.shape[:-1])


QUANTIZERS: dict[str, type[Quantizer]] = {
    "BinaryMapper": _BinaryMapper,
    "FSQ": _FSQ,
    "GroupedResidualFSQ": _GroupedResidualFSQ,
    "GroupedResidualLFQ": _GroupedResidualLFQ,
    "GroupedResidualVQ": _GroupedResidualVQ,
    "LFQ": _LFQ,
    "LatentQuantize": _LatentQuantize,
    "ResidualFSQ": _ResidualFSQ,
    "ResidualLFQ": _ResidualLFQ,
    "ResidualSimVQ": _ResidualSimVQ,
    "ResidualVQ": _ResidualVQ,
    "SimVQ": _SimVQ,
    "VectorQuantize": _VectorQuantize,
}
