"""Files of a checkpoint as its authors publish it: a config and tensors.

Tensors are read from .safetensors, and from files of `torch.save` with its loader for weights alone: no code that a
file names is imported or run.
"""

import io
import json
import math
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from narrows.checkpoints.families import ARCHIVE, SUFFIXES, TORCH_SUFFIXES
from narrows.checkpoints.families.archive import read_members
from narrows.errors import ModelError, shortened

TABLES = "tables.safetensors"  # frequency tables that were added beside the weights
ARCHIVED = ("model_weights.ckpt", "model_config.yaml")  # in an archive
MAX_CONFIG_BYTES = 1 << 20
MAX_YAML_BYTES = 1 << 17  # parsing takes 10 s for a megabyte
MAX_DEPTH = 8  # of dictionaries in a file of torch.save
MAX_VALUES = 100_000  # in a file of torch.save
MAX_TENSORS = 20_000
MAX_NAME = 300  # characters of the name of a tensor
MAX_SHARED = 8  # times that the tensors of a file may be larger than it, as some share their numbers
ZIP = b"PK\x03\x04"  # the first bytes of a file of torch.save, except for old ones
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
        members = read_members(weights, ARCHIVED)
        data, text = (members[name] for name in ARCHIVED)
        tensors, values = _read_torch(weights, io.BytesIO(data))
        config = _checked(weights, text, read_yaml, "YAML")
    else:
        raise ModelError(f"expected weights in a file {', '.join(SUFFIXES)}, got {weights}")
    if not tensors:
        raise ModelError(f"expected tensors in {weights}, got none")
    _check_tensors(tensors, weights)
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


def read_yaml(data: str | bytes) -> Any:
    """The plain values of a YAML text.

    Raises ValueError for other text, and for one with references (`*name`): with a few of them, a short text is as
    large as it likes.
    """
    import yaml

    if len(data) > MAX_YAML_BYTES:
        raise ValueError(f"expected at most {MAX_YAML_BYTES} bytes of YAML, got {len(data)}")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(data, yaml.SafeLoader)):
            raise ValueError("expected YAML without references, got one")
        return yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise ValueError(shortened(str(error))) from error
    except (LookupError, AttributeError, TypeError, ArithmeticError) as error:  # of a wrong text after a tag
        raise ValueError(f"a value is not of the type that it names: {shortened(str(error))}") from error


def _read_yaml(path: Path) -> Mapping[str, Any]:
    """A config.yaml, as `read_config`."""
    return _parsed(path, read_yaml, "YAML")


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

    One without the other stays as it is. Raises ModelError for shapes that do not belong together.
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
            g, v = folded.pop(name), folded.pop(partner)
            axes = [axis for axis, size in enumerate(g.shape) if size > 1] or [0]
            fit = 0 < g.ndim == v.ndim and len(axes) == 1 and g.numel() == v.shape[axes[0]] and v.numel() > 0
            if not fit or not g.is_floating_point() or not v.is_floating_point():
                raise ModelError(f"expected {name} to have a length for each filter of {partner}, in {path}")
            target = stem if length == "_g" else stem + "weight"
            folded[target] = torch._weight_norm(v.float(), g.float(), axes[0])
    return folded


def _check_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise ModelError for more or longer names than codecs have, and for tensors that are larger than their file.

    A file of a few bytes can state any shape: one with a zero, one whose numbers all lie at the same place, or one
    without numbers.
    """
    if len(tensors) > MAX_TENSORS:
        raise ModelError(f"expected at most {MAX_TENSORS} tensors in {path}, got {len(tensors)}")
    room = MAX_SHARED * path.stat().st_size
    for name, tensor in tensors.items():
        if len(name) > MAX_NAME:
            raise ModelError(f"expected names of at most {MAX_NAME} characters in {path}, got {shortened(name)}")
        kinds = type(tensor) in (Tensor, nn.Parameter), tensor.layout == torch.strided, tensor.device.type == "cpu"
        if not all(kinds) or tensor.is_quantized:
            raise ModelError(f"expected only dense tensors in {path}, got another as {shortened(name)}")
        room -= math.prod(max(1, size) for size in tensor.shape) * tensor.element_size()
        if room < 0:
            given = " x ".join(map(str, tensor.shape))
            raise ModelError(
                f"expected tensors of at most the size of {path}, got {given} numbers in {shortened(name)}"
            )


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
        with open(path, "rb") if file is None else file as opened:
            _check_stored(opened, path)
            data = torch.load(opened, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0] if str(error) else "damaged"
        raise ModelError(
            f"{path} cannot be read as tensors alone, and code in it is never run ({shortened(reason)}); "
            "save its tensors as .safetensors"
        ) from error
    except Exception as error:  # of any class: the bytes decide what the reader does
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path} cannot be read ({shortened(reason)}); fetch it again") from error
    tensors, values = dict[str, Tensor](), dict[str, Any]()
    for number, (name, value) in enumerate(_flat(data, "", 0)):
        if number == MAX_VALUES:
            raise ModelError(f"expected at most {MAX_VALUES} values in {path}, got more")
        if isinstance(value, Tensor):
            tensors[name] = value.detach()
        else:
            values[name] = value
    return tensors, values


def _check_stored(file: IO[bytes], path: Path) -> None:
    """Raise ModelError for a compressed archive, or one whose parts overlap: it may be larger than memory."""
    start = file.read(len(ZIP))
    if start == ZIP:
        size = file.seek(0, io.SEEK_END)
        parts = zipfile.ZipFile(file).infolist()
        if any(part.compress_type for part in parts) or sum(part.file_size for part in parts) > size:
            raise ModelError(f"expected parts that are not compressed in {path}, got others; save it again")
    file.seek(0)


def _flat(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Values of nested dictionaries, with dots between their names; a dictionary without values is a value."""
    if not isinstance(value, Mapping) or depth == MAX_DEPTH or not value:
        yield name, value
        return
    for key, inner in value.items():
        part = key if isinstance(key, str) else shortened(key)
        yield from _flat(inner, f"{name}.{part}" if name else part, depth + 1)
