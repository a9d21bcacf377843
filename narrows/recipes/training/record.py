"""The record of a run, recipe.json: the settings that it was started with, by which a resumed run is checked.

recipe.json     target, narrows, devices, nodes, precision, accumulate, minutes, init, smoke
                recipe      all settings of the recipe (see `describe`)
                found       number and size of the media files that were found
                changes     settings that a resumed run changed, with the step
                finished    step of the weights in checkpoint/; null while it is not written
                best        step, metric and value of the weights in best/
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from narrows.errors import InputError, PartError
from narrows.media.atomic import write_bytes
from narrows.parts import spec

RECORD = "recipe.json"
COMPARED = ("devices", "nodes", "precision", "accumulate", "minutes", "init", "recipe", "found")
DEFAULTS = {"nodes": 1, "accumulate": 1, "minutes": None}  # of records of earlier versions
WITHOUT_EFFECT = ("data.workers", "best")  # settings that do not change the trained weights
MAX_NAMED = 5  # differences that a message names
MAX_DEPTH = 12
_MODULE_ATTRIBUTES = {*vars(nn.Module()), "_arguments"}
_CONTAINERS = (nn.ModuleList, nn.Sequential, nn.ModuleDict)


def describe(value: Any, depth: int = 0) -> Any:
    """What a setting is, as JSON.

    Parts are described by `spec`, dataclasses by their class and fields, other modules and objects by their class and
    attributes. Frozen networks have a fingerprint of their weights.
    """
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, bool | int | float | str | None):
        return value
    if isinstance(value, Path):
        return os.path.abspath(value)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return f"{value.__module__}.{value.__qualname__}"
    if depth > MAX_DEPTH:
        return _class(value)
    if hasattr(type(value), "_part"):
        try:
            return spec(value)
        except PartError:  # it holds an object that is not a part
            pass
    if isinstance(value, nn.Module):
        return _module(value, depth)
    if isinstance(value, Tensor):
        return _tensor(value)
    if is_dataclass(value):
        named = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"class": _class(value), **_described(named, depth)}
    if isinstance(value, Mapping):
        return _described(value, depth)
    if isinstance(value, list | tuple):
        if len(value) == 2 and isinstance(value[0], int | float) and isinstance(value[1], nn.Module):
            return {"weight": value[0], "module": describe(value[1], depth + 1)}  # a loss
        return [describe(each, depth + 1) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(describe(each, depth + 1)) for each in value)
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    return {"class": _class(value), **_described(getattr(value, "__dict__", {}), max(depth, MAX_DEPTH - 2))}


def differences(old: Any, new: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The dotted name, old and new value of everything that differs between two descriptions."""
    if old == new and type(old) is type(new):
        return
    if isinstance(old, dict) and isinstance(new, dict) and _kind(old) == _kind(new):
        for key in {**old, **new}:
            yield from differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from differences(*pair, f"{name}.{index}")
    elif not any(name == each or name.startswith(f"{each}.") for each in WITHOUT_EFFECT):
        yield name, old, new


def changes_of(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """What differs between two records, in what can change the result of a run."""
    before, after = (
        {key: (DEFAULTS | {**record}).get(key) for key in COMPARED if key != "recipe"} for record in (old, new)
    )
    return [*differences(old.get("recipe"), new.get("recipe")), *differences(before, after)]


def as_text(changes: list[tuple[str, Any, Any]]) -> str:
    """Differences as text, a handful at most."""
    shown = [f"{name} {_short(old)} -> {_short(new)}" for name, old, new in changes[:MAX_NAMED]]
    further = len(changes) - len(shown)
    return ", ".join(shown) + (f" and {further} more" if further else "")


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of the run in a folder; None if there is none.

    Raises:
        InputError: For a file that is not such a record.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_bytes())
        if isinstance(record, dict) and isinstance(record["recipe"], dict) and isinstance(record["changes"], list):
            return record
        reason = "it is no such record"
    except (OSError, ValueError, KeyError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
    raise InputError(f"expected the record of a run in {path}, got another file ({reason}); choose another --out")


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a run as a whole file."""
    write_bytes(folder / RECORD, (json.dumps(record, indent=1) + "\n").encode(), overwrite=True)


def _described(named: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    return {str(name): describe(each, depth + 1) for name, each in named.items()}


def _module(module: nn.Module, depth: int) -> Any:
    if type(module) in _CONTAINERS:
        children = module._modules
        return _described(children, depth) if isinstance(module, nn.ModuleDict) else _listed(children.values(), depth)
    parameters = list(module.parameters())
    if type(module).__module__.startswith("torch.") and parameters:  # the text of losses lacks their options
        return " ".join(str(module).split())
    attributes = {name: value for name, value in vars(module).items() if name not in _MODULE_ATTRIBUTES}
    described = {"class": _class(module), **_described(attributes, depth)}
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        return {**described, "weights": _fingerprint(parameters)}
    if isinstance(module, nn.ModuleList | nn.Sequential):
        return {**described, "modules": _listed(module, depth)}
    described |= _described(module._modules, depth)
    described |= {name: f"parameter {tuple(each.shape)}" for name, each in module.named_parameters(recurse=False)}
    fixed = module._non_persistent_buffers_set  # the others change during training, and are saved
    for name, each in module.named_buffers(recurse=False):
        described[name] = _tensor(each) if name in fixed else f"buffer {tuple(each.shape)}"
    return described


def _listed(modules: Any, depth: int) -> list[Any]:
    return [describe(module, depth + 1) for module in modules]


def _tensor(tensor: Tensor) -> str:
    """Shape and moments, rounded: other machines compute other last bits."""
    if not tensor.numel():
        return f"tensor {tuple(tensor.shape)}"
    values = tensor.detach().double()
    mean, deviation = float(values.mean()), float(values.std(correction=0))
    return f"tensor {tuple(tensor.shape)}, mean {mean:.4g}, deviation {deviation:.4g}"


def _fingerprint(parameters: list[nn.Parameter]) -> str:
    digest = sha256()
    for parameter in parameters:
        digest.update(parameter.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _class(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _kind(description: Mapping[str, Any]) -> tuple[Any, Any]:
    return description.get("part"), description.get("class")


def _short(value: Any) -> str:
    if isinstance(value, dict) and any(_kind(value)):
        return str(value.get("part") or value["class"].rpartition(".")[2])
    if isinstance(value, list) and len(value) > 4:
        return f"{len(value)} items"
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
