"""How an assembled codec is written down, and built again.

    @part("fsq")                      spec(codec)  ──▶  {"part": "codec", "encoder": {"part": ...}, ...}
    class FSQ(nn.Module): ...         build(spec)  ──▶  the same codec, freshly initialised

The constructor is the only schema. A description may name registered parts only, never an import path: building what a
file describes runs no code that the file brings along.
"""

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from narrows.errors import PartError

Class = TypeVar("Class", bound=type)

_PARTS: dict[str, type] = {}
_PLAIN = (bool, int, float, str, type(None))


def part(name: str) -> Callable[[Class], Class]:
    """Register a class under `name` and remember the arguments of each instance.

    Raises PartError when the name is taken, or when the constructor takes *args or **kwargs.
    """

    def register(cls: Class) -> Class:
        if name in _PARTS:
            raise PartError(
                f"the part {name!r} is registered already, by {_PARTS[name].__qualname__}; choose another name"
            )
        signature = inspect.signature(cls)
        for parameter in signature.parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise PartError(f"{cls.__qualname__} takes {parameter}; a part names each of its arguments")
        construct = cls.__init__  # type: ignore[misc]

        @functools.wraps(construct)
        def remember(self: Any, *args: Any, **kwargs: Any) -> None:
            construct(self, *args, **kwargs)
            if type(self) is cls:  # a subclass that is a part of its own remembers its own arguments
                bound = signature.bind(*args, **kwargs)
                bound.apply_defaults()
                object.__setattr__(self, "_arguments", dict(bound.arguments))

        cls.__init__ = remember  # type: ignore[misc]
        cls._part = name  # type: ignore[attr-defined]
        _PARTS[name] = cls
        return cls

    return register


def names() -> list[str]:
    """The names of all registered parts, sorted."""
    return sorted(_PARTS)


def spec(instance: object) -> dict[str, Any]:
    """Nested JSON-ready description of a part; `build` makes the same part from it.

    Raises PartError for an object that is not a part, or an argument that JSON cannot hold.
    """
    name = getattr(type(instance), "_part", None)
    if name is None or _PARTS.get(name) is not type(instance):
        raise PartError(f"{type(instance).__qualname__} is not a registered part; decorate its class with @part(name)")
    arguments: dict[str, Any] = instance._arguments  # type: ignore[attr-defined]
    return {"part": name} | {key: _plain(value, name, key) for key, value in arguments.items()}


def build(description: dict[str, Any]) -> Any:
    """The part that `description` (from `spec`, or parsed JSON) describes; the description is not changed.

    Raises PartError for an unknown part, an unknown, missing or unfit argument; the message names the part and the
    nearest known name.
    """
    if not isinstance(description, dict) or not isinstance(description.get("part"), str):
        raise PartError(f"a part is written {{'part': name, ...}}, got {_short(description)}")
    name = description["part"]
    if name not in _PARTS:
        raise PartError(f"no part is called {name!r}{_nearest(name, _PARTS)}; narrows.parts.names() lists all")
    cls = _PARTS[name]
    parameters = inspect.signature(cls).parameters
    arguments = {key: value for key, value in description.items() if key != "part"}
    for key in arguments:
        if key not in parameters:
            raise PartError(f"{name} takes no {key!r}{_nearest(key, parameters)}; it takes {', '.join(parameters)}")
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise PartError(f"{name} needs {key!r}, which is missing")
    built = {key: _built(value) for key, value in arguments.items()}
    try:
        return cls(**built)
    except PartError:
        raise
    except (TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise PartError(f"{name} cannot be built from {_short(arguments)}: {error}") from error


def _plain(value: Any, name: str, key: str) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, name, key) for item in value]
    if hasattr(type(value), "_part"):
        return spec(value)
    raise PartError(f"{name} holds {key}={_short(value)}, which cannot be written as JSON; give numbers, text or parts")


def _built(value: Any) -> Any:
    if isinstance(value, dict):
        return build(value)
    if isinstance(value, list | tuple):
        return tuple(_built(item) for item in value)
    return value


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
