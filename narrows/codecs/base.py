"""The contracts of the parts of a codec: Encoder, Bottleneck, Decoder.

x (B, C, *signal) ──▶ Encoder ──▶ latents (B, D, *grid) ──▶ Bottleneck ──▶ latents ──▶ Decoder ──▶ x
                                                              │  ▲
                                                              codes (B, K, *grid)
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from narrows.errors import InputError

LARGEST_LATENT = 1e15  # whose square float32 still holds
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
LARGEST_DIGIT = 4096  # what a frequency table of 16 bits tells apart; the largest alphabet of the .nrw format

Reach = tuple[int, int] | None  # positions (before, after) of the latent grid; None where all of them are seen


class State:
    """What a causal part keeps between two steps of a stream; each streaming part has a subclass of its own."""


class Network(nn.Module, ABC):
    """What encoders and decoders have in common.

    Attributes:
        channels: C of the signal.
        dim: D of the latents.
        stride: samples of the signal per position of the latent grid, one number per axis of the signal.
        conditioned: whether `forward` takes a quality index beside its input.
    """

    conditioned: ClassVar[bool] = False
    channels: int
    dim: int
    stride: tuple[int, ...]

    @property
    @abstractmethod
    def reach(self) -> tuple[Reach, ...]:
        """Per axis, how many positions of the grid before and after its own one output position depends on.

        None for an axis of which all is seen. The output at position p of an encoder is latent p, of a decoder the
        `stride` samples that belong to latent p.
        """

    def start(self, batch: int) -> State:
        """The state at the beginning of `batch` streams along the first axis of the signal.

        Raises InputError for a part that cannot be streamed, which is the default.
        """
        raise InputError(f"expected a causal part that implements start and step, got {type(self).__name__}")

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The next part of the streams, (B, C or D, n, ...), to the output that it completes, and the next state.

        `state` is not changed. Outputs of all steps, concatenated, equal `forward` of the whole.
        Raises InputError for a part that cannot be streamed, which is the default.
        """
        raise InputError(f"expected a causal part that implements start and step, got {type(self).__name__}")


class Encoder(Network):
    """Signals (B, C, *signal), each axis a multiple of its stride, to latents (B, D, *grid)."""

    kind: ClassVar[str] = "encoder"

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Signal (B, C, *signal) to latents (B, D, *grid). Raises InputError for another shape."""

    def check_signal(self, x: Tensor) -> None:
        """Raise InputError unless x is (B, C, *signal) with axes that are multiples of the strides."""
        fits = x.ndim == 2 + len(self.stride) and x.shape[1] == self.channels and 0 not in x.shape
        if not fits or any(size % stride for size, stride in zip(x.shape[2:], self.stride, strict=True)):
            axes = ", ".join(f"multiple of {stride}" for stride in self.stride)
            raise InputError(f"expected a signal (B, {self.channels}, {axes}), got {tuple(x.shape)}")


class Decoder(Network):
    """Latents (B, D, *grid) to signals (B, C, *signal)."""

    kind: ClassVar[str] = "decoder"

    @abstractmethod
    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """Latents (B, D, *grid) to signal (B, C, *signal).

        Args:
            z: latents.
            quality_index: where the decoder is `conditioned`, one for the batch or (B,) one per item; else ignored.
        """


@dataclass(frozen=True)
class Quantized:
    """What a bottleneck returns.

    latents: (B, D, *grid), what the decoder reads.
    codes:   (B, K, *grid) int64, or None where a continuous bottleneck has none or training adds noise instead.
    losses:  unweighted scalars for training; in eval mode those that cost much are left out.
    bits:    (B,) float32, the rate of each item: nominal for codebooks, estimated for entropy models.
    metrics: detached scalars worth logging.
    """

    latents: Tensor
    codes: Tensor | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)
    bits: Tensor = field(default_factory=lambda: torch.zeros(0))
    metrics: dict[str, Tensor] = field(default_factory=dict)


class Bottleneck(nn.Module, ABC):
    """The narrow place: latents (B, D, *grid) ⇄ codes (B, K, *grid).

    `decode(encode(z))` equals `forward(z).latents` bit for bit in eval mode, and `decode(codes[:, :k])` is meaningful
    for every k in `prefixes`; it is float32 always. Codes of an item do not depend on the others of its batch, but for
    ties, which a matrix product of another size may round to the other side.
    """

    kind: ClassVar[str] = "bottleneck"
    dim: int
    codebook_sizes: tuple[int, ...]
    prefixes: tuple[int, ...]

    @abstractmethod
    def forward(self, z: Tensor) -> Quantized:
        """Latents (B, D, *grid) to Quantized."""

    @abstractmethod
    def encode(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to codes (B, K, *grid) int64."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, k, *grid), the first k codebooks, to latents (B, D, *grid)."""

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """How each codebook's index splits into digits for entropy coding, least significant digit first."""
        return tuple(_digits(size) for size in self.codebook_sizes)

    @property
    def reach(self) -> int | None:
        """Positions to each side on which a position depends: none, or all of them (None) where attention is inside."""
        return None if any(getattr(module, "sees_all", False) for module in self.modules()) else 0

    @property
    def table_sizes(self) -> tuple[int, ...]:
        """Entries of each frequency table that entropy coding needs: one for each digit, where nothing else is said."""
        return tuple(radix for digits in self.radices for radix in digits)

    @property
    def bits_per_position(self) -> float:
        """Nominal bits of all codebooks at one position of the grid."""
        return sum(_bits(size) for size in self.codebook_sizes)

    def _nominal_bits(self, books: Tensor, positions: int) -> Tensor:
        """Bits (B,) of `books` (B,) codebooks over `positions` positions."""
        each = torch.tensor([0.0, *(_bits(size) for size in self.codebook_sizes)], device=books.device)
        return each.cumsum(0)[books] * positions

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Bottleneck":
        """Move and cast as any module; constants and running means stay float32, or codes would change."""
        buffers = [
            (module, name, buffer)
            for module in self.modules()
            for name, buffer in module.named_buffers(recurse=False)
            if buffer.is_floating_point() and not buffer.is_meta
        ]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for module, name, buffer in buffers:
            module._buffers[name] = buffer.to(module.get_buffer(name).device)
        return self

    def _check_latents(self, z: Tensor) -> None:
        if not isinstance(z, Tensor) or not z.is_floating_point():
            raise InputError(f"latents of type {getattr(z, 'dtype', type(z).__name__)} given, floats wanted")
        if z.ndim < 3 or z.shape[1] != self.dim or 0 in z.shape:
            raise InputError(
                f"latents of shape {tuple(z.shape)} given, (B, {self.dim}, *grid) with no empty axis wanted"
            )
        if not z.detach().abs().amax() <= LARGEST_LATENT:  # NaN is not
            raise InputError(
                f"latents of shape {tuple(z.shape)} hold NaN, infinity or more than {LARGEST_LATENT:g}; less wanted"
            )

    def check_codes(self, codes: Tensor) -> None:
        """Raise InputError for codes out of range."""
        self._check_codes(codes)

    def _check_codes(self, codes: Tensor) -> Tensor:
        """The codes as int64. Raises InputError unless they are integers in range, of a prefix of the codebooks."""
        if (
            codes.dtype not in INTEGERS
            or codes.ndim < 3
            or 0 in codes.shape
            or codes.shape[1] > len(self.codebook_sizes)
        ):
            wanted = f"integers of shape (B, 1 to {len(self.codebook_sizes)}, *grid) with no empty axis"
            raise InputError(f"codes of shape {tuple(codes.shape)} and type {codes.dtype} given, {wanted} wanted")
        codes = codes.long()
        for k, size in enumerate(self.codebook_sizes[: codes.shape[1]]):
            low, high = codes[:, k].aminmax()
            if low < 0 or high >= size:
                raise InputError(f"codebook {k} was given codes {int(low)} to {int(high)}; it holds 0 to {size - 1}")
        return codes


def _bits(size: int) -> float:
    return float(torch.tensor(size, dtype=torch.float64).log2())


def _digits(size: int) -> tuple[int, ...]:
    """Factors of `size`, each as large as a table allows; raises InputError where a prime factor is larger."""
    if size <= LARGEST_DIGIT:
        return (size,)
    for digit in range(LARGEST_DIGIT, 1, -1):
        if size % digit == 0:
            return (digit, *_digits(size // digit))
    raise InputError(f"a codebook of {size} codes given; its size must be a product of factors up to {LARGEST_DIGIT}")
