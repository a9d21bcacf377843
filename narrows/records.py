"""Dataclasses from JSON, strictly checked: their annotations are the schema."""

import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from narrows.errors import InputError

T = TypeVar("T")
_TYPE_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


def parse_json(text: str | bytes) -> object:
    """The value of JSON text. Raises InputError for invalid JSON, and for NaN and Infinity, which JSON has not."""
    try:
        return json.loads(text, parse_constant=_raise_for_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected JSON, got invalid text ({error})") from error


def to_record(kind: type[T], value: object, where: str = "it") -> T:
    """A dataclass from a JSON object, recursively through its fields.

    Known annotations: dataclasses, Mapping[str, T], Sequence[T], tuple[T, ...], unions, Literal, str, int, float, bool
    and Any.

    Args:
        kind: the dataclass.
        value: the JSON object, as `parse_json` returns it.
        where: names the object in error messages.

    Raises:
        InputError: for a missing or unknown key, and for a value of another type.
    """
    if not isinstance(value, dict):
        raise _type_error(where, value, "an object")
    known = {field.name: field for field in fields(kind) if field.init}  # type: ignore[arg-type]
    unknown = sorted(value.keys() - known.keys())
    if unknown:
        raise InputError(f"expected the keys {', '.join(known)} in {where}, got the unknown key {unknown[0]!r}")
    required = [name for name, of in known.items() if of.default is MISSING and of.default_factory is MISSING]
    missing = [name for name in required if name not in value]
    if missing:
        raise InputError(f"expected the key {missing[0]!r} in {where}, got none")
    hints = get_type_hints(kind)
    return kind(**{name: _decoded(hints[name], inner, f"{where}.{name}") for name, inner in value.items()})


def _decoded(kind: Any, value: object, where: str) -> Any:
    """The value as the annotation `kind` says. Raises InputError for another type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _decoded_union(arguments, value, where)
    if origin is Literal:
        if value not in arguments:
            raise _type_error(where, value, " or ".join(map(repr, arguments)))
        return value
    if origin in (Sequence, tuple):
        if not isinstance(value, list):
            raise _type_error(where, value, "a list")
        return tuple(_decoded(arguments[0], element, f"{where}[{index}]") for index, element in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, dict):
            raise _type_error(where, value, "an object")
        return {name: _decoded(arguments[1], element, f"{where}[{name!r}]") for name, element in value.items()}
    if is_dataclass(kind) and isinstance(kind, type):
        return to_record(kind, value, where)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise _type_error(where, value, _TYPE_NAMES[kind])
    return value


def _decoded_union(kinds: tuple[Any, ...], value: object, where: str) -> Any:
    """The value as the first type of the union that it fits; raises the error of the last type other than None."""
    if value is None and types.NoneType in kinds:
        return None
    last_error = None
    for kind in kinds:
        if kind is not types.NoneType:
            try:
                return _decoded(kind, value, where)
            except InputError as error:
                last_error = error
    assert last_error is not None
    raise last_error


def _type_error(where: str, value: object, expected: str) -> InputError:
    text = repr(value)
    return InputError(f"expected {expected} for {where}, got {text if len(text) <= 40 else text[:40] + '…'}")


def _raise_for_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")
