"""The contracts of the parts of a codec: Encoder, Bottleneck, Decoder.

x (B, C, *signal) ──▶ Encoder ──▶ latents (B, D, *grid) ──▶ Bottleneck ──▶ latents ──▶ Decoder ──▶ x
                                                              │  ▲
                                                              codes (B, K, *grid)
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from narrows.errors import InputError

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
MAX_RADIX = 4096  # values of a digit; the largest frequency table of the .nrw format has one entry for each

Class = TypeVar("Class", bound=type)
Reach = tuple[int, int] | None  # positions (before, after) of the latent grid; None where all of them are seen


class State:
    """State of a causal part between two steps of a stream. Each streaming part defines its own subclass."""


class Network(nn.Module, ABC):
    """Base class of encoders and decoders. A subclass sets these attributes, in its constructor or for the class.

    Attributes:
        channels: C of the signal.
        dim: D of the latents.
        stride: samples of the signal per position of the latent grid, one number per axis of the signal.
        conditioned: whether `forward` takes a quality index in addition to its input: of an entropy model, or the place
            of the number of codebooks in the `prefixes` of another bottleneck.
    """

    conditioned: ClassVar[bool] = False
    channels: int
    dim: int
    stride: tuple[int, ...]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        return super().__new__(_concrete(cls))

    @property
    @abstractmethod
    def reach(self) -> tuple[Reach, ...]:
        """Per axis, how many positions of the grid before and after its own one output position depends on.

        None for an axis along which an output depends on all positions. The output at position p of an encoder is
        latent p, of a decoder the `stride` samples that belong to latent p.
        """

    def check_declarations(self) -> None:
        """Raise InputError unless the attributes and the reach are of the right form; called when a part is built."""
        for name in ("channels", "dim"):
            _check_declared(self, name, _is_count, "an integer from 1")
        _check_declared(self, "stride", _are_counts, "a tuple of integers from 1, one for each axis of the signal")
        axes = len(self.stride)
        _check_declared(self, "reach", lambda value: _is_reach(value, axes), f"a tuple of {axes} pairs or None")

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
    """Signals (B, C, *signal), each axis a multiple of its stride, to latents (B, D, *grid).

    Attributes:
        any_length: whether it takes signals of any size along each axis, and makes a latent of the rest that is shorter
            than the stride too. Such a network pads in its own way, which padding before it could not reproduce; it
            gets the end of a recording as it is. All others get zeros up to a multiple of the stride.
    """

    kind: ClassVar[str] = "encoder"
    any_length: bool = False

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Signal (B, C, *signal) to latents (B, D, *grid). Raises InputError for another shape."""

    def check_signal(self, x: Tensor) -> None:
        """Raise InputError unless x is (B, C, *signal), with axes that are multiples of the strides or `any_length`."""
        fits = x.ndim == 2 + len(self.stride) and x.shape[1] == self.channels and 0 not in x.shape
        partial = fits and any(size % stride for size, stride in zip(x.shape[2:], self.stride, strict=True))
        if not fits or (partial and not self.any_length):
            axes = ", ".join("any" if self.any_length else f"multiple of {stride}" for stride in self.stride)
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

    def step(self, x: Tensor, state: State, quality_index: Tensor | int | None = None) -> tuple[Tensor, State]:
        """See `Network.step`; `quality_index` as of `forward`."""
        return super().step(x, state)


@dataclass(frozen=True)
class Quantized:
    """Result of a bottleneck.

    Args:
        latents: (B, D, *grid), for the decoder.
        codes: (B, K, *grid) int64; None if the bottleneck is continuous, or if training adds noise instead of rounding.
        item_losses: unweighted losses for training: (B,), one for each item, so that a bottleneck made of others can
            leave out items; scalars for statistics of the whole batch. Expensive ones are left out in eval mode.
        bits: (B,) float32, rate of each item: nominal for codebooks, estimated for entropy models.
        metrics: detached scalars for logging.
    """

    latents: Tensor
    codes: Tensor | None = None
    item_losses: dict[str, Tensor] = field(default_factory=dict)
    bits: Tensor = field(default_factory=lambda: torch.zeros(0))
    metrics: dict[str, Tensor] = field(default_factory=dict)

    @property
    def losses(self) -> dict[str, Tensor]:
        """The losses as scalars: means over the items of the batch."""
        return {name: value.mean() for name, value in self.item_losses.items()}


class Bottleneck(nn.Module, ABC):
    """Latents (B, D, *grid) ⇄ codes (B, K, *grid).

    A subclass sets these attributes in its constructor, and implements `forward`, `encode` and `decode`.

    Attributes:
        dim: D of the latents.
        codebook_sizes: V of each of the K codebooks; empty without codes.
        prefixes: the numbers k of codebooks, increasing up to K, of which `decode` makes useful latents: (K,) unless
            the codebooks refine each other. Empty without codes.

    In eval mode `decode(encode(z))` equals `forward(z).latents` bit for bit, up to the cast to the dtype of z: `decode`
    always returns float32. `decode(codes[:, :k])` is meaningful for every k in `prefixes`. Codes of an item do not
    depend on the other items of its batch, except that ties may be rounded differently by a matrix product of another
    size.

    `encode`, `decode` and `forward` in eval mode never synchronise an accelerator with the host and can be exported
    (`torch.export`). So they check shapes and types, but not values: the tokenizers check that media are finite, and
    `check_codes` checks codes. Latents with NaN get arbitrary codes, which are in range, and do not change EMAs.
    """

    kind: ClassVar[str] = "bottleneck"
    dim: int
    codebook_sizes: tuple[int, ...]
    prefixes: tuple[int, ...]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        return super().__new__(_concrete(cls))

    @abstractmethod
    def forward(self, z: Tensor) -> Quantized:
        """Latents (B, D, *grid) to Quantized."""

    @abstractmethod
    def encode(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to codes (B, K, *grid) int64."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, k, *grid) of the first k codebooks to latents (B, D, *grid) float32."""

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """Digits into which each codebook's codes are split for entropy coding, the least significant first."""
        return tuple(_digits(size) for size in self.codebook_sizes)

    @property
    def reach(self) -> int | None:
        """Positions to each side on which a position depends: 0, or None with attention over all positions."""
        return None if any(getattr(module, "global_context", False) for module in self.modules()) else 0

    @property
    def table_sizes(self) -> tuple[int, ...]:
        """Entries of each frequency table for entropy coding: by default one table per digit."""
        return tuple(radix for digits in self.radices for radix in digits)

    @property
    def bits_per_position(self) -> float:
        """Nominal bits of all codebooks at one grid position."""
        return sum(math.log2(size) for size in self.codebook_sizes)

    def check_declarations(self) -> None:
        """Raise InputError unless the attributes are of the right form; called when a part is built."""
        _check_declared(self, "dim", _is_count, "an integer from 1")
        expected = "a tuple of the size of each codebook, or () without codes"
        _check_declared(self, "codebook_sizes", lambda value: value == () or _are_counts(value), expected)
        count = len(self.codebook_sizes)
        expected = (
            f"({count},), or a tuple of increasing numbers of codebooks that ends with {count}" if count else "()"
        )
        _check_declared(self, "prefixes", lambda value: _are_prefixes(value, count), expected)

    def check_codes(self, codes: Tensor) -> None:
        """Check that codes (B, k, *grid) are integers of the first k codebooks, each within its codebook.

        `decode` checks shape and type alone, since reading values from an accelerator stalls it: call this where codes
        come from a user or a file.

        Raises:
            InputError: with the codebook, its range and the values found.
        """
        self._check_codes(codes)
        for k, size in enumerate(self.codebook_sizes[: codes.shape[1]]):
            low, high = (int(value) for value in codes[:, k].aminmax())
            if low < 0 or high >= size:
                raise InputError(f"expected codes 0 to {size - 1} in codebook {k}, got {low} to {high}")

    def _nominal_bits(self, codebooks: Tensor, positions: int) -> Tensor:
        """Bits (B,) of `codebooks` (B,) codebooks, all of one size, at `positions` positions."""
        return codebooks.float() * (math.log2(self.codebook_sizes[0]) * positions)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Bottleneck":
        """Move and cast like any module, but keep the dtype of buffers: codes depend on constants and EMAs."""
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
            raise InputError(f"expected floating-point latents, got {getattr(z, 'dtype', type(z).__name__)}")
        if z.ndim < 3 or z.shape[1] != self.dim or 0 in z.shape:
            shape = f"(B, {self.dim}, *grid) with no empty axis"
            raise InputError(f"expected latents of shape {shape}, got {tuple(z.shape)}")

    def _check_codes(self, codes: Tensor) -> Tensor:
        """The codes as int64. Raises InputError unless they are integers of shape (B, k, *grid), k up to K."""
        if (
            codes.dtype not in INTEGERS
            or codes.ndim < 3
            or 0 in codes.shape
            or codes.shape[1] > len(self.codebook_sizes)
        ):
            shape = f"(B, 1 to {len(self.codebook_sizes)}, *grid) with no empty axis"
            raise InputError(f"expected integer codes of shape {shape}, got {codes.dtype} of {tuple(codes.shape)}")
        return codes.long()


def _concrete(cls: Class) -> Class:
    """A class of parts. Raises InputError if it lacks methods that the base class demands."""
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise InputError(f"expected {cls.__name__} to have {', '.join(missing)}, got none; define it in the class")
    return cls


def _digits(size: int) -> tuple[int, ...]:
    """Factors of `size`, each as large as a frequency table allows."""
    if size <= MAX_RADIX:
        return (size,)
    for digit in range(MAX_RADIX, 1, -1):
        if size % digit == 0:
            return (digit, *_digits(size // digit))
    raise InputError(f"expected a codebook size that is a product of factors up to {MAX_RADIX}, got {size}")


def _check_declared(part: nn.Module, name: str, fits: Callable[[Any], bool], expected: str) -> None:
    """Raise InputError unless an attribute of a part is there and fits."""
    value = getattr(part, name, None)
    if not fits(value):
        got = "nothing" if value is None else repr(value)
        raise InputError(f"expected {type(part).__name__}.{name} to be {expected}, got {got}; set it in __init__")


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


def _are_counts(value: object) -> bool:
    return isinstance(value, tuple) and len(value) > 0 and all(map(_is_count, value))


def _is_reach(value: object, axes: int) -> bool:
    """Whether a value is a tuple of None or (before, after) for each axis."""
    return (
        isinstance(value, tuple)
        and len(value) == axes
        and all(
            each is None or (isinstance(each, tuple) and [type(n) is int and n >= 0 for n in each] == [True, True])
            for each in value
        )
    )


def _are_prefixes(value: object, count: int) -> bool:
    if value == () or not count:
        return value == () and not count
    return _are_counts(value) and list(value) == sorted(set(value)) and value[-1] == count  # type: ignore[call-overload, index]
