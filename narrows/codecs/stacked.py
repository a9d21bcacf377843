"""A codec around a Re-Bottleneck: its networks become part of the encoder and the decoder.

    encoder    x ──▶ base encoder ──▶ z ──▶ outer bottleneck, if there is one ──▶ inner encoder ──▶ y
    decoder    y ──▶ inner decoder ──▶ z ──▶ base decoder ──▶ x

So the bottleneck of the codec is the inner one, the reaches of encoder and decoder include those of the inner networks,
and streams step through one after the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from torch import Tensor, nn

from narrows.codecs.base import Bottleneck, Decoder, Encoder, Reach, State
from narrows.codecs.bottlenecks.entropy.base import EntropyModel
from narrows.codecs.bottlenecks.nested import Nested
from narrows.codecs.bottlenecks.rebottleneck import ReBottleneck
from narrows.errors import InputError
from narrows.parts import part


@dataclass(frozen=True)
class StackedState(State):
    """The states of two networks, in the order in which they run."""

    first: State
    second: State


@part("stacked-encoder")
class StackedEncoder(Encoder):
    """The encoder of a finished codec, its bottleneck if that is kept, and an encoder of its latents.

    Args:
        base: encoder of the codec.
        outer: bottleneck of the codec; None to leave it out.
        inner: encoder of the codec's latents.

    Raises:
        InputError: for parts that do not fit each other, and for a bottleneck that sees several positions.
    """

    def __init__(self, base: Encoder, outer: Bottleneck | None, inner: Encoder) -> None:
        super().__init__()
        if inner.channels != base.dim or len(inner.stride) != len(base.stride):
            raise InputError(
                f"expected an inner encoder of {base.dim} channels and {len(base.stride)} axes, got {inner.channels} "
                f"and {len(inner.stride)}"
            )
        if outer is not None and (outer.dim != base.dim or outer.reach != 0 or isinstance(outer, EntropyModel)):
            raise InputError(
                f"expected a bottleneck of {base.dim} channels that quantizes each position alone, got "
                f"{type(outer).__name__} of {outer.dim}; leave it out"
            )
        self.base, self.outer, self.inner = base, outer, inner
        self.channels, self.dim, self.stride = base.channels, inner.dim, base.stride
        self.any_length = base.any_length

    @property
    def reach(self) -> tuple[Reach, ...]:
        """The sum of the reaches."""
        return _sum(self.base.reach, self.inner.reach)

    def forward(self, x: Tensor) -> Tensor:
        """Signal (B, C, *signal) to the inner latents (B, D, *grid)."""
        return self._inner_latents(self.base(x))

    def start(self, batch: int) -> StackedState:
        """The states of both networks."""
        return StackedState(self.base.start(batch), self.inner.start(batch))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Network.step`."""
        given = _checked(state)
        z, first = self.base.step(x, given.first)
        y, second = self.inner.step(self._quantized(z), given.second)
        return y, StackedState(first, second)

    def _quantized(self, z: Tensor) -> Tensor:
        if self.outer is None:
            return z
        latents: Tensor = self.outer(z).latents
        return latents

    def _inner_latents(self, z: Tensor) -> Tensor:
        y: Tensor = self.inner(self._quantized(z))
        return y


@part("stacked-decoder")
class StackedDecoder(Decoder):
    """A decoder of the latents of a finished codec, and the decoder of that codec.

    Args:
        inner: decoder of the codec's latents.
        base: decoder of the codec.
        quality_index: at which `base` runs, where the codec has several qualities.

    Raises:
        InputError: for parts that do not fit each other, and for a quality that `base` does not take.
    """

    def __init__(self, inner: Decoder, base: Decoder, quality_index: int | None = None) -> None:
        super().__init__()
        if quality_index is not None and not base.conditioned:
            raise InputError(
                f"expected no quality_index for {type(base).__name__}, got {quality_index!r}; leave it out"
            )
        self.quality_index = quality_index
        if inner.channels != base.dim or len(inner.stride) != len(base.stride):
            raise InputError(
                f"expected an inner decoder of {base.dim} channels and {len(base.stride)} axes, got {inner.channels} "
                f"and {len(inner.stride)}"
            )
        self.inner, self.base = inner, base
        self.channels, self.dim, self.stride = base.channels, inner.dim, base.stride

    @property
    def reach(self) -> tuple[Reach, ...]:
        """The sum of the reaches."""
        return _sum(self.inner.reach, self.base.reach)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """Inner latents (B, D, *grid) to signal (B, C, *signal)."""
        latents = self.inner(z)
        x: Tensor = self.base(latents) if self.quality_index is None else self.base(latents, self.quality_index)
        return x

    def start(self, batch: int) -> StackedState:
        """The states of both networks."""
        return StackedState(self.inner.start(batch), self.base.start(batch))

    def step(self, x: Tensor, state: State, quality_index: Tensor | int | None = None) -> tuple[Tensor, State]:
        """See `Network.step`."""
        given = _checked(state)
        z, first = self.inner.step(x, given.first)
        if self.quality_index is None:
            out, second = self.base.step(z, given.second)
        else:
            out, second = self.base.step(z, given.second, self.quality_index)
        return out, StackedState(first, second)


def stacked(encoder: Encoder, bottleneck: Bottleneck, decoder: Decoder) -> tuple[Encoder, Bottleneck, Decoder]:
    """The parts of a codec, with the networks of a ReBottleneck, alone or in a Nested, moved to encoder and decoder.

    Raises:
        InputError: for a Nested that is not frozen, and for parts that do not fit.
    """
    while True:
        outer = None
        if isinstance(bottleneck, Nested) and isinstance(bottleneck.inner, ReBottleneck):
            outer, frozen, bottleneck = bottleneck.outer, bottleneck.frozen, bottleneck.inner
            if not frozen:
                raise InputError("expected a frozen Nested around a ReBottleneck, got frozen=False; set frozen=True")
        if not isinstance(bottleneck, ReBottleneck):
            return encoder, bottleneck, decoder
        encoder = StackedEncoder(encoder, outer, bottleneck.inner_encoder)
        decoder = StackedDecoder(bottleneck.inner_decoder, decoder, bottleneck.quality_index)
        bottleneck = bottleneck.bottleneck


def base_tensors(codec: nn.Module) -> Iterator[tuple[str, str]]:
    """The tensors that a codec around a ReBottleneck has of the codec it stands on: (name here, name there).

    Empty for a codec without one.
    """
    encoder = getattr(codec, "encoder", None)
    if not isinstance(encoder, StackedEncoder):
        return
    for here, there in (
        ("encoder.base.", "encoder."),
        ("encoder.outer.", "bottleneck."),
        ("decoder.base.", "decoder."),
    ):
        for name in codec.state_dict():
            if name.startswith(here):
                yield name, there + name.removeprefix(here)


def base_digest(codec: nn.Module) -> str:
    """SHA-256, in hexadecimal, of the names and weights that `base_tensors` names, as float32."""
    weights, found = codec.state_dict(), sha256()
    for here, there in base_tensors(codec):
        tensor = weights[here].detach().cpu()
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        found.update(there.encode() + tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def _sum(first: tuple[Reach, ...], second: tuple[Reach, ...]) -> tuple[Reach, ...]:
    return tuple(
        None if one is None or other is None else (one[0] + other[0], one[1] + other[1])
        for one, other in zip(first, second, strict=True)
    )


def _checked(state: State) -> StackedState:
    if not isinstance(state, StackedState):
        raise InputError(f"expected the state that start or a step has returned, got {type(state).__name__}")
    return state
