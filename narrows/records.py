"""Dataclasses out of JSON, strictly: the annotations are the only schema."""

import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from narrows.errors import InputError

T = TypeVar("T")
_WANTED = {str: "a text", int: "an integer", float: "a number", bool: "true or false"}


def parsed(text: str | bytes) -> object:
    """Plain JSON. Raises InputError, with a part of a sentence, for what is none; NaN and Infinity are none."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InputError(f"it is no JSON ({error})") from error


def record(kind: type[T], value: object, where: str = "it") -> T:
    """A dataclass from an object of JSON, and so on through its fields; `where` names the object in errors.

    Known annotations: dataclasses, Mapping[str, ...], Sequence[...], tuple[T, ...], unions, Literal, str, int, float,
    bool, None, Any.
    Raises InputError for a missing or unknown key and for a value of another kind.
    """
    if not isinstance(value, dict):
        raise _refused(where, value, "an object")
    known = {field.name: field for field in fields(kind) if field.init}  # type: ignore[arg-type]
    unknown = sorted(value.keys() - known.keys())
    if unknown:
        raise InputError(f"{where} has an unknown key {unknown[0]!r}")
    needed = [name for name, of in known.items() if of.default is MISSING and of.default_factory is MISSING]
    missing = [name for name in needed if name not in value]
    if missing:
        raise InputError(f"{where} has no {missing[0]!r}")
    hints = get_type_hints(kind)
    return kind(**{name: _decoded(hints[name], inner, f"{where}.{name}") for name, inner in value.items()})


def _decoded(kind: Any, value: object, where: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _of_union(inner, value, where)
    if origin is Literal:
        if value not in inner:
            raise _refused(where, value, " or ".join(map(repr, inner)))
        return value
    if origin in (Sequence, tuple):
        if not isinstance(value, list):
            raise _refused(where, value, "a list")
        return tuple(_decoded(inner[0], one, f"{where}[{index}]") for index, one in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, dict):
            raise _refused(where, value, "an object")
        return {name: _decoded(inner[1], one, f"{where}[{name!r}]") for name, one in value.items()}
    if is_dataclass(kind) and isinstance(kind, type):
        return record(kind, value, where)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise _refused(where, value, _WANTED[kind])
    return value


def _of_union(kinds: tuple[Any, ...], value: object, where: str) -> Any:
    """The first kind that takes the value; the error is the last one's, None standing aside."""
    if value is None and types.NoneType in kinds:
        return None
    refusal = None
    for kind in kinds:
        if kind is not types.NoneType:
            try:
                return _decoded(kind, value, where)
            except InputError as error:
                refusal = error
    assert refusal is not None
    raise refusal


def _refused(where: str, value: object, wanted: str) -> InputError:
    shown = repr(value)
    return InputError(f"{where} is {shown if len(shown) <= 40 else shown[:40] + '…'}, {wanted} is wanted")


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a number")
