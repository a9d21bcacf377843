"""Names of the tensors of other libraries, renamed to those of a codec here."""

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from narrows.checkpoints.families.source import Source
from narrows.errors import ModelError

SEANET_STAGE = 3  # layers of the encoder per stride, after the first convolution
Rules = Iterable[tuple[str, str | None]]


def renamed(source: Source, rules: Rules) -> dict[str, Tensor]:
    """The tensors of a source under new names, in float32 if they are floats.

    Args:
        source: the checkpoint.
        rules: regular expressions for whole names, with what they become (as of `re.sub`); None leaves a tensor out.
            The first that matches counts.

    Raises ModelError for a name that no rule knows, and for two that become the same.
    """
    compiled = [(re.compile(pattern), target) for pattern, target in rules]
    tensors = dict[str, Tensor]()
    for name, tensor in source.tensors.items():
        matches = ((pattern.fullmatch(name), target) for pattern, target in compiled)
        found, target = next(((match, target) for match, target in matches if match), (None, None))
        if found is None:
            raise ModelError(f"expected only tensors of this kind of codec in {source.path}, got {name[:200]!r}")
        if target is None:
            continue
        new = found.expand(target)
        if new in tensors:
            raise ModelError(f"expected one tensor for {new} in {source.path}, got {name[:200]!r} beside another")
        tensors[new] = tensor.float() if tensor.is_floating_point() else tensor
    return tensors


def pointwise_to_linear(tensors: Mapping[str, Tensor], pattern: str) -> dict[str, Tensor]:
    """Weights (C', C, 1) of convolutions of kernel 1 whose names match a pattern, as those (C', C) of linear maps."""
    return {
        name: tensor.squeeze(-1) if tensor.ndim == 3 and re.search(pattern, name) else tensor
        for name, tensor in tensors.items()
    }


def channelwise(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters `alpha` and `beta` of activations, of any shape, as (1, C, 1)."""
    return {
        name: tensor.reshape(1, -1, 1) if name.endswith((".alpha", ".beta")) else tensor
        for name, tensor in tensors.items()
    }


def with_codebook_states(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add what training needs to know of each codebook (`*.codebook.vectors`): it is initialized, all codes are used.

    Sums of an EMA are the codes, as if each had been used once.
    """
    states = dict(tensors)
    for name, vectors in tensors.items():
        if name.endswith("codebook.vectors"):
            stem = name.removesuffix("vectors")
            states[stem + "initialized"] = torch.tensor(True)
            states[stem + "usage"] = torch.ones(len(vectors))
    return states


class Shapes:
    """Shapes of the tensors of a source by their names here, from which sizes are read where no config has them.

    Args:
        source: for messages.
        tensors: by name.
    """

    def __init__(self, source: Source, tensors: Mapping[str, Tensor]) -> None:
        self._path = source.path
        self._shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}

    def of(self, name: str, axes: int) -> tuple[int, ...]:
        """The shape of a tensor. Raises ModelError if it is not there, or has another number of axes."""
        if len(shape := self._shapes.get(name, ())) != axes:
            raise ModelError(f"expected a tensor {name} of {axes} axes in {self._path}, got {shape or 'none'}")
        return shape

    def has(self, name: str) -> bool:
        """Whether there is a tensor of this name."""
        return name in self._shapes

    def numbers(self, pattern: str) -> list[int]:
        """The different numbers of names where a regular expression for whole names has its first group, sorted."""
        return sorted({int(match[1]) for name in self._shapes if (match := re.fullmatch(pattern, name))})

    def count(self, pattern: str) -> int:
        """How many `numbers` there are."""
        return len(self.numbers(pattern))

    def strides(self, pattern: str) -> tuple[int, ...]:
        """Half the kernels of the convolutions whose names match a regular expression, ordered by its first group."""
        found = {int(match[1]): shape for name, shape in self._shapes.items() if (match := re.fullmatch(pattern, name))}
        return tuple(found[number][-1] // 2 for number in sorted(found))

    def seanet_strides(self, end: int, layer: str) -> tuple[int, ...]:
        """Half the kernels of every third layer of a SEANet encoder before one, in the order of the decoder.

        Args:
            end: number of that layer.
            layer: the name of a weight, with {} for the number of its layer.
        """
        kernels = (self.of(layer.format(place), 3)[2] for place in range(SEANET_STAGE, end, SEANET_STAGE))
        return tuple([kernel // 2 for kernel in kernels][::-1])  # ends at the first that is missing
