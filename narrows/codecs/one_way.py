"""Encoders and decoders of models that work in one direction: they are in the place of a part that does not exist."""

from torch import Tensor

from narrows.codecs.base import Decoder, Encoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integer_lists, check_integers
from narrows.errors import InputError
from narrows.parts import part


@part("no-encoder")
class NoEncoder(Encoder):
    """In the place of the encoder of a model that only decodes, such as a vocoder of another codec's codes.

    Args:
        channels: C of the signal.
        dim: D of the latents.
        stride: of the decoder.
    """

    def __init__(self, channels: int = 1, dim: int = 64, stride: tuple[int, ...] = (320,)) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, channels=channels, dim=dim)
        check_integer_lists(1, MAX_SIZE, stride=stride)
        self.channels, self.dim, self.stride = channels, dim, tuple(stride)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Nothing is seen."""
        return ((0, 0),) * len(self.stride)

    def forward(self, x: Tensor) -> Tensor:
        """Raises InputError."""
        raise InputError("expected codes to decode, got a signal to encode; this model has no encoder, so only decode")


@part("no-decoder")
class NoDecoder(Decoder):
    """In the place of the decoder of a model that only encodes, such as a tokenizer of speech for language models.

    Args:
        channels: C of the signal.
        dim: D of the latents.
        stride: of the encoder.
    """

    def __init__(self, channels: int = 1, dim: int = 64, stride: tuple[int, ...] = (320,)) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, channels=channels, dim=dim)
        check_integer_lists(1, MAX_SIZE, stride=stride)
        self.channels, self.dim, self.stride = channels, dim, tuple(stride)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Nothing is seen."""
        return ((0, 0),) * len(self.stride)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """Raises InputError."""
        raise InputError("expected a signal to encode, got codes to decode; this model has no decoder, so only encode")
