"""Quantizers of the package vector-quantize-pytorch (github.com/lucidrains/vector-quantize-pytorch) as a bottleneck.

z (B, D, *grid) ──▶ sequence (B, N, D) float32 ──▶ quantizer ──▶ codes (B, K, *grid), latents (B, D, *grid)

In training the package's own `forward` runs, with its losses, EMA updates, k-means initialisation and dropout. In eval
mode `encode` and `decode` of quantization/package_quantizers.py run instead.
"""

import difflib
import inspect
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from narrows.codecs import distributed as ranks
from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.quantization.mixed_radix import MixedRadix
from narrows.codecs.quantization.package_quantizers import QUANTIZERS, MapperWithProjections, Quantizer
from narrows.codecs.quantization.usage import usage
from narrows.errors import InputError
from narrows.parts import part

Option = bool | int | float | str | None | Sequence[int] | Sequence[float]

MAX_CODEBOOK_SIZE = 1 << 24  # entries; other integers are at most MAX_SIZE
MAX_TABLE = 1 << 25  # numbers in the tables of all codes that quantizers without a codebook make
# Options that choose another layout, that `decode` cannot follow, or that share tensors between layers.
UNSUPPORTED = {
    "self", "dim", "channel_last", "channel_first", "is_channel_first", "accept_image_fmap", "accept_3d_fmap",
    "keep_num_codebooks_dim", "return_indices", "return_zeros_for_masked_padding", "affine_param", "sync_affine_param",
    "affine_param_batch_decay", "affine_param_codebook_decay", "vq_bridge", "in_place_codebook_optimizer",
    "manual_in_place_optimizer_update", "manual_ema_update", "shared_codebook", "implicit_neural_codebook",
    "mlp_kwargs", "beam_size", "eval_beam_size", "beam_score_quantizer_weights", "codebook_transform", "init_fn",
    "straight_through_activation", "allowed_dtypes", "optimize_values", "deterministic_on_eval", "kwargs",
    "vq_kwargs", "sim_vq_kwargs", "sync_codebook", "sync_kmeans",
}  # fmt: skip


@part("vector-quantize-pytorch")
class VectorQuantizePytorch(Bottleneck):
    """A quantizer of vector-quantize-pytorch.

    It computes in float32, regardless of autocast and `.to(dtype)`. Random projection quantizers are left out, since
    they do not decode. In eval mode the gradient is straight-through from the latents to z.

    Losses, in training only: 'commitment', 'sample_entropy', 'diversity', 'orthogonal' and 'kl' are not weighted; where
    the package returns only a sum that its own options weight, that sum is 'joint' (codebooks trained by gradient,
    SimVQ, ResidualLFQ, LatentQuantize). With `quantize_dropout`, training draws one number of codebooks per batch, and
    returns the codes of these only. In a distributed run, codebooks are trained on the vectors of all ranks.

    Args:
        dim: D of the latents on both sides.
        quantizer: BinaryMapper, FSQ, GroupedResidualFSQ, GroupedResidualLFQ, GroupedResidualVQ, LFQ, LatentQuantize,
            ResidualFSQ, ResidualLFQ, ResidualSimVQ, ResidualVQ, SimVQ or VectorQuantize.
        options: further constructor arguments of the quantizer, as pairs of name and value: numbers, text, True, False,
            None, or tuples of numbers. Options that change the layout of tensors are not accepted.

    Raises:
        InputError: for an unknown quantizer or option, naming the nearest, and for values the package rejects.
    """

    def __init__(
        self,
        dim: int = 64,
        quantizer: str = "VectorQuantize",
        options: Sequence[tuple[str, Option]] = (("codebook_size", 1024),),
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim)
        if quantizer not in QUANTIZERS:
            raise InputError(f"expected a quantizer of {', '.join(QUANTIZERS)}, got {quantizer!r}{_nearest(quantizer)}")
        self.dim, self.quantizer_name = dim, quantizer
        family = QUANTIZERS[quantizer]
        checked = _check_options(family, quantizer, options)
        _check_table(quantizer, dim, checked)
        self.quantizer = _build(quantizer, dim, checked)
        self._run = family(self.quantizer)
        self.codebook_sizes, self.prefixes = self._run.codebook_sizes, self._run.prefixes
        levels = self._run.levels
        self._radices = None if levels is None else MixedRadix(levels).radices
        self.radices  # noqa: B018  # raises for a size that cannot be entropy-coded

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """Digits of each code: merged levels, bits, or factors of the codebook size."""
        return super().radices if self._radices is None else (self._radices,) * len(self.codebook_sizes)

    def forward(self, z: Tensor) -> Quantized:
        """Quantize latents (B, D, *grid)."""
        if not self.training:
            codes = self.encode(z)
            latents = self.decode(codes) + (z - z.detach())  # exact: the second term is 0
            losses: dict[str, Tensor] = {}
        else:
            x, finite = self._sequence(z)
            if ranks.count() > 1:
                _share_codebooks(self.quantizer)
            with torch.autocast(z.device.type, enabled=False):
                out, indices, losses = self._run.train(finite)
            kept = int((indices[0, 0] >= 0).sum())  # synchronises, in training only
            codes = self._to_grid(indices[..., :kept].long(), z)
            latents = self._to_grid(out + (x - finite).detach(), z)  # NaN where z has it, so that training notices
        size_bits = sum(math.log2(size) for size in self.codebook_sizes[: codes.shape[1]])
        bits = torch.full((z.shape[0],), size_bits * math.prod(z.shape[2:]), device=z.device)
        metrics = usage(codes, self.codebook_sizes[: codes.shape[1]])
        return Quantized(latents.to(z.dtype), codes, losses, bits, metrics)

    @torch.no_grad()
    def encode(self, z: Tensor) -> Tensor:
        """Encode latents (B, D, *grid) to codes (B, K, *grid) int64."""
        _, finite = self._sequence(z)
        with torch.autocast(z.device.type, enabled=False):
            return self._to_grid(self._run.encode(finite).long(), z)

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, k, *grid) of the first k codebooks, k in `prefixes`, to latents (B, D, *grid) float32."""
        codes = self._check_codes(codes)
        if codes.shape[1] not in self.prefixes:
            raise InputError(f"expected codes of {self.prefixes} codebooks, got {codes.shape[1]}")
        with torch.autocast(codes.device.type, enabled=False):
            return self._to_grid(self._run.decode(codes.flatten(2).transpose(1, 2)), codes)

    def _sequence(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Reshape latents (B, D, *grid) to a float32 sequence (B, N, D); also return it with 0 for NaN and infinity."""
        self._check_latents(z)
        x = z.float().flatten(2).transpose(1, 2).contiguous()
        return x, x.nan_to_num(0.0, 0.0, 0.0)

    def _to_grid(self, x: Tensor, like: Tensor) -> Tensor:
        """Reshape a sequence (B, N, C) to (B, C, *grid)."""
        return x.transpose(1, 2).unflatten(2, like.shape[2:])

    def _apply(self, fn: Any, recurse: bool = True) -> "VectorQuantizePytorch":
        parameters = [(parameter, parameter.data) for parameter in self.parameters() if not parameter.is_meta]
        super()._apply(fn, recurse)
        for parameter, data in parameters:  # the package mixes them with float32 buffers
            parameter.data = data.to(parameter.device)
        return self


def _share_codebooks(quantizer: nn.Module) -> None:
    """Let codebooks count and draw vectors of all ranks; the package decides this too early, when it builds them."""
    for module in quantizer.modules():
        if hasattr(module, "replace_sample_fn"):
            vars(module).update(sample_fn=_draw, replace_sample_fn=_draw)
            vars(module).update(all_reduce_fn=ranks.total, kmeans_all_reduce_fn=ranks.total)


def _draw(vectors: Tensor, count: int) -> Tensor:
    """Draw `count` of the vectors (codebooks, N, d) of all ranks for each codebook."""
    return torch.stack([ranks.draw(of_codebook, count) for of_codebook in vectors])


def _build(name: str, dim: int, options: dict[str, Any]) -> nn.Module:
    import vector_quantize_pytorch as package  # takes seconds, so it is imported only when it is used

    try:
        if name == "BinaryMapper":
            return MapperWithProjections(dim, package.BinaryMapper(**options))
        quantizer: nn.Module = getattr(package, name)(dim=dim, **options)  # a key of QUANTIZERS
    except (AssertionError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
        raise InputError(f"expected options that {name} accepts, got {options}: {error}") from error
    return quantizer


def _check_options(family: type[Quantizer], name: str, options: Iterable[tuple[str, Option]]) -> dict[str, Any]:
    """The options as keyword arguments of the package."""
    import vector_quantize_pytorch as package

    known = {
        key
        for cls in (name, *family.options_of)
        for key in inspect.signature(getattr(package, cls)).parameters
        if key not in UNSUPPORTED
    }
    checked: dict[str, Any] = {}
    for pair in options:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise InputError(f"expected options as pairs of name and value, got {pair!r}")
        key, value = pair
        if key not in known or key in checked:
            raise InputError(f"expected an option of {name}, each once, got {key!r}{_nearest(key, known)}")
        numbers = value if isinstance(value, list | tuple) else (value,)
        plain = all(isinstance(number, bool | int | float | str | None) for number in numbers)
        largest = MAX_CODEBOOK_SIZE if key == "codebook_size" else MAX_SIZE
        if not plain or any(_is_number(number) and not abs(number) <= largest for number in numbers):  # NaN too
            raise InputError(f"expected numbers up to {largest}, text, True, False or None as {key}, got {value!r}")
        checked[key] = value if key == "codebook_size" or not isinstance(value, list | tuple) else list(value)
    return checked


def _check_table(name: str, dim: int, options: dict[str, Any]) -> None:
    """Raise InputError where a few bytes of options ask the package for a huge table of all codes."""

    def option(key: str, default: float) -> float:
        value: Any = options.get(key)
        return max(1, value) if _is_number(value) else default

    if name == "BinaryMapper":
        width = option("bits", 1)
        size = 2 ** min(width, 64)
    elif name.endswith("LFQ"):
        size = option("codebook_size", 2 ** min(dim, 64))
        width = math.log2(size)
    elif name.endswith("FSQ") or name == "LatentQuantize":
        levels: Any = options.get("levels")
        digits = levels if isinstance(levels, list) else [levels] * math.ceil(min(option("codebook_dim", 1), 64))
        width, size = len(digits), math.prod(max(1, digit) for digit in digits[:64] if _is_number(digit))
    else:
        return
    if size * width * option("num_quantizers", 1) * option("groups", 1) > MAX_TABLE:
        raise InputError(f"expected tables of all codes of up to {MAX_TABLE} numbers, got {options}; use fewer codes")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _nearest(word: object, known: Iterable[str] = QUANTIZERS) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
