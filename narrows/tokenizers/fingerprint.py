"""The fingerprint of a model: a hash of its description and weights, computed again once weights change."""

import hashlib
import json
from typing import Any

import torch
from torch import Tensor, nn

DIGITS = 16


class Fingerprint:
    """Hashes a description and the weights of a codec, and keeps the result until a weight changes.

    Weights that are replaced or changed in place, for example by an optimizer, are noticed. A change in place of
    `weight.data` goes unnoticed, as it does by autograd.
    """

    def __init__(self) -> None:
        # versions of the weights, the weights (so that no others get their addresses), and their fingerprint
        self._hashed: tuple[list[tuple[int, int]], list[Tensor], str] | None = None

    def of(self, codec: nn.Module, description: dict[str, Any]) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the description and the weights as float32."""
        tensors = _tensors(codec)
        versions = [_version(tensor) for tensor in tensors]
        if self._hashed is None or self._hashed[0] != versions:
            self._hashed = versions, [tensor.detach() for tensor in tensors], _hash(codec, description)
        return self._hashed[2]

    def __getstate__(self) -> dict[str, Any]:
        """The state for copies and pickles, without the weights."""
        return {"_hashed": None}


def _hash(codec: nn.Module, description: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, tensor in sorted(codec.state_dict().items()):
        values = tensor.detach().cpu()
        values = values.float() if values.is_floating_point() else values
        digest.update(f"{name}{tuple(values.shape)}{values.dtype}".encode())
        digest.update(values.contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:DIGITS]


def _tensors(module: nn.Module) -> list[Tensor]:
    """All parameters and buffers, found faster than by `parameters()`, because every encode calls it."""
    found, modules = list[Tensor | None](), [module]
    for each in modules:  # the list grows
        found += [*each._parameters.values(), *each._buffers.values()]
        modules += [child for child in each._modules.values() if child is not None]
    return [tensor for tensor in found if tensor is not None]


def _version(tensor: Tensor) -> tuple[int, int]:
    """A value that changes if a tensor is replaced or changed in place."""
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version
