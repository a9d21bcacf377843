"""Files of a checkpoint as its authors publish it: a config and tensors.

Tensors are read from .safetensors, and from files of `torch.save` with its loader for weights alone: no code that a
file names is imported or run.
"""

import io
import json
import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from narrows.checkpoints.families.archive import read_members
from narrows.errors import ModelError, shortened

TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".th", ".bin")
TABLES = "tables.safetensors"  # frequency tables that were added beside the weights
ARCHIVE = ".nemo"
ARCHIVED = ("model_weights.ckpt", "model_config.yaml")  # in an archive
SUFFIXES = (".safetensors", *TORCH_SUFFIXES, ARCHIVE)
MAX_CONFIG_BYTES = 1 << 20
MAX_DEPTH = 8  # of dictionaries in a file of torch.save
_NORMS = {"_g": "_v", "parametrizations.weight.original0": "parametrizations.weight.original1"}


@dataclass(frozen=True)
class Source:
    """A checkpoint as its authors publish it.

    Attributes:
        path: the file of the weights.
        config: of config.json, config.yaml or model_config.json beside it; empty without one.
        tensors: by name, with dots between the names of nested dictionaries. Weight norm is folded: a direction and
            a length are one `weight`.
        values: numbers and texts that the file of the weights holds beside the tensors, named like these.
    """

    path: Path
    config: Mapping[str, Any] = field(repr=False)
    tensors: Mapping[str, Tensor] = field(repr=False)
    values: Mapping[str, Any] = field(repr=False, default_factory=dict)

    def integer(self, *names: str) -> int:
        """An integer of the config or the values, under the first of these names that is there.

        Raises ModelError if there is none.
        """
        value = self._value(names)
        if type(value) is not int:
            raise ModelError(f"expected an integer as {names[0]} of {self.path}, got {shortened(value)}")
        return value

    def integers(self, *names: str) -> tuple[int, ...]:
        """A list of integers; see `integer`."""
        value = self._value(names)
        if not isinstance(value, list | tuple) or not all(type(number) is int for number in value):
            raise ModelError(f"expected a list of integers as {names[0]} of {self.path}, got {shortened(value)}")
        return tuple(value)

    def _value(self, names: Sequence[str]) -> Any:
        for name in names:
            for place in (self.config, self.values):
                if name in place:
                    return place[name]
        return None

    def has(self, pattern: str) -> bool:
        """Whether a tensor has a name that begins with a regular expression."""
        return any(re.match(pattern, name) for name in self.tensors)


def open_source(path: Path) -> Source:
    """Read the checkpoint in a file, or in a folder with one file of weights.

    Raises ModelError for other folders and files, and for damaged ones.
    """
    weights = _weights_in(path) if path.is_dir() else path
    if not weights.is_file():
        raise ModelError(f"expected a file, got {weights}, which is a folder, a pipe or a device")
    config: Mapping[str, Any] = {}
    if weights.suffix == ".safetensors":
        tensors, values = _read_safetensors(weights), dict[str, Any]()
    elif weights.suffix in TORCH_SUFFIXES:
        tensors, values = _read_torch(weights)
    elif weights.suffix == ARCHIVE:
        data, text = (read_members(weights, ARCHIVED)[name] for name in ARCHIVED)
        tensors, values = _read_torch(weights, io.BytesIO(data))
        config = _checked(weights, text, _of_yaml, "YAML")
    else:
        raise ModelError(f"expected weights in a file {', '.join(SUFFIXES)}, got {weights}")
    if not tensors:
        raise ModelError(f"expected tensors in {weights}, got none")
    config = config or read_config(weights.parent / "config.json") or _read_yaml(weights.parent / "config.yaml")
    config = config or read_config(weights.parent / "model_config.json")
    return Source(weights, config, fold_weight_norm(tensors, weights), values)


def is_public(path: Path) -> bool:
    """Whether a path is a file of weights, or a folder with one that is no checkpoint of this library."""
    if path.is_file():
        return True
    try:
        config = read_config(path / "config.json")
    except ModelError:
        return False  # reading it as one of this library says what is wrong
    return bool(_candidates(path)) and "format" not in config


def read_config(path: Path) -> Mapping[str, Any]:
    """A config.json; empty if there is none. Raises ModelError for one that is no dictionary, or too large."""
    return _parsed(path, json.loads, "JSON")


def _read_yaml(path: Path) -> Mapping[str, Any]:
    """A config.yaml, as `read_config`."""
    return _parsed(path, _of_yaml, "YAML")


def _of_yaml(data: bytes) -> Any:
    """Plain values alone. Raises ValueError for other text."""
    import yaml

    try:
        return yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise ValueError(shortened(str(error))) from error


def _parsed(path: Path, parse: Callable[[bytes], Any], form: str) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ModelError(f"expected {path} of at most {MAX_CONFIG_BYTES} bytes, got {path.stat().st_size}")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}; fetch the checkpoint again") from error
    return _checked(path, data, parse, form)


def _checked(path: Path, data: bytes, parse: Callable[[bytes], Any], form: str) -> Mapping[str, Any]:
    if len(data) > MAX_CONFIG_BYTES:
        raise ModelError(f"expected a config of at most {MAX_CONFIG_BYTES} bytes in {path}, got {len(data)}")
    try:
        config = parse(data)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as {form}: {error}; fetch the checkpoint again") from error
    if not isinstance(config, dict):
        raise ModelError(f"expected a dictionary in {path}, got {shortened(config)}; fetch the checkpoint again")
    return config


def fold_weight_norm(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Replace each length and direction of weight normalization (`weight_g` and `weight_v`) by their `weight`.

    Raises ModelError for one without the other, and for shapes that do not belong together.
    """
    folded = dict(tensors)
    for name in tensors:
        for length, direction in _NORMS.items():
            if not name.endswith(length):
                continue
            stem = name.removesuffix(length)
            partner = stem + direction
            if partner not in tensors:
                continue
            g, v = folded.pop(name).float(), folded.pop(partner).float()
            axes = [axis for axis, size in enumerate(g.shape) if size > 1] or [0]
            if g.ndim != v.ndim or len(axes) > 1 or g.numel() != v.shape[axes[0]]:
                raise ModelError(f"expected {name} to have a length for each filter of {partner}, in {path}")
            target = stem if length == "_g" else stem + "weight"
            folded[target] = torch._weight_norm(v, g, axes[0])
    return folded


def _candidates(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.name != TABLES and p.is_file())
    except OSError:
        return []


def _weights_in(folder: Path) -> Path:
    found = _candidates(folder)
    safe = [path for path in found if path.suffix == ".safetensors"]
    preferred = [path for path in found if path.name in ("model.safetensors", "pytorch_model.bin")]
    for several in (preferred[:1], safe, found):
        if len(several) == 1:
            return several[0]
    if not found:
        raise ModelError(f"expected a file of weights ({', '.join(SUFFIXES)}) in {folder}, got none")
    raise ModelError(f"expected one file of weights in {folder}, got {', '.join(p.name for p in found)}; name one")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}; fetch it again") from error


def _read_torch(path: Path, file: io.BytesIO | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        data = torch.load(file or path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0] if str(error) else "damaged"
        raise ModelError(
            f"{path} cannot be read as tensors alone, and code in it is never run ({shortened(reason)}); "
            "save its tensors as .safetensors"
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path} cannot be read ({shortened(reason)}); fetch it again") from error
    tensors, values = dict[str, Tensor](), dict[str, Any]()
    for name, value in _flat(data, "", 0):
        if isinstance(value, Tensor):
            tensors[name] = value.detach()
        else:
            values[name] = value
    return tensors, values


def _flat(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Values of nested dictionaries, with dots between their names."""
    if not isinstance(value, Mapping) or depth == MAX_DEPTH:
        yield name, value
        return
    for key, inner in value.items():
        yield from _flat(inner, f"{name}.{key}" if name else str(key), depth + 1)
