"""The registry of parts: an assembled codec as JSON, and back.

    @part("fsq")                      spec(codec)  ──▶  {"part": "codec", "encoder": {"part": ...}, ...}
    class FSQ(nn.Module): ...         build(spec)  ──▶  the same codec, freshly initialised

The constructor is the only schema. A description names registered parts only, never an import path: building what a
file describes runs no code that the file brings along. Parts are registered when their module is imported: those of
this library, of modules that the user names, and of installed packages that announce them (see plugins.py).
"""

import difflib
import functools
import inspect
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from narrows import plugins
from narrows.errors import PartError, shortened

Class = TypeVar("Class", bound=type)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")  # of parts and models

_PARTS: dict[str, type] = {}
_PLAIN = (bool, int, float, str, type(None))
_BUILTIN = (  # importing them registers parts
    "narrows.codecs",
    "narrows.tokenizers.audio",
    "narrows.tokenizers.audio_segments",
    "narrows.tokenizers.classifier",
    "narrows.tokenizers.image",
    "narrows.tokenizers.video",
)


def part(name: str) -> Callable[[Class], Class]:
    """Register a class under `name` and record the constructor arguments of each instance.

    A class attribute `kind` ("encoder", "bottleneck", ...) groups parts, see `names`. A method `check_declarations`, as
    encoders, bottlenecks and decoders have, is called after the constructor.

    A class that is defined again, as by running a cell of a notebook again, takes the place of the earlier one.

    Raises PartError when another class has the name, for a name with other characters than letters, digits and - _ .,
    and when the constructor takes *args or **kwargs.
    """

    def register(cls: Class) -> Class:
        if not NAME.fullmatch(name):
            raise PartError(
                f"expected a name of letters, digits and - _ . for {cls.__qualname__}, got {shortened(name)}"
            )
        if name in _PARTS and _place(_PARTS[name]) != _place(cls):
            place = ".".join(_place(_PARTS[name]))
            raise PartError(f"expected an unused part name, got {name!r} of {place}; choose another name")
        signature = inspect.signature(cls)
        for parameter in signature.parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise PartError(f"expected named arguments in {cls.__qualname__}, got {parameter}; name each of them")
        construct = cls.__init__  # type: ignore[misc]

        @functools.wraps(construct)
        def construct_and_record(self: Any, *args: Any, **kwargs: Any) -> None:
            construct(self, *args, **kwargs)
            if type(self) is cls:  # a subclass that is itself a part records its own arguments
                bound = signature.bind(*args, **kwargs)
                bound.apply_defaults()
                object.__setattr__(self, "_arguments", dict(bound.arguments))
                if hasattr(self, "check_declarations"):
                    self.check_declarations()

        cls.__init__ = construct_and_record  # type: ignore[misc]
        cls._part = name  # type: ignore[attr-defined]
        _PARTS[name] = cls
        return cls

    return register


def names(kind: str | None = None) -> list[str]:
    """The names of all registered parts, sorted: of this library, of modules that the user named, of plugins.

    Args:
        kind: only parts of this kind, one of `kinds()`; None for all.

    Raises:
        PartError: for an unknown kind.
    """
    _register_all()
    if kind is not None and kind not in kinds():
        raise PartError(f"expected a kind of {', '.join(kinds())}, got {kind!r}")
    return sorted(name for name, cls in _PARTS.items() if kind in (None, _kind(cls)))


def kinds() -> list[str]:
    """The kinds of all registered parts, sorted."""
    _register_all()
    return sorted({_kind(cls) for cls in _PARTS.values()})


def find(name: str) -> type:
    """The class of a registered part.

    Raises:
        PartError: for an unknown name, with the nearest.
        InputError: if the module of a plugin cannot be imported.
    """
    if name not in _PARTS:
        _register_builtin()
    if name not in _PARTS:
        plugins.import_listed()
    if name not in _PARTS and name in plugins.announced("narrows.parts"):
        plugins.load("narrows.parts", name)
    if name not in _PARTS:
        raise PartError(
            f"expected a registered part, got {shortened(name)}{_nearest(name, _PARTS)}; import the module that "
            "registers it (codec --import MODULE), or choose one that `codec parts` lists"
        )
    return _PARTS[name]


def _place(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _kind(cls: type) -> str:
    kind: str = getattr(cls, "kind", "other")
    return kind


def _register_builtin() -> None:
    for module in _BUILTIN:
        import_module(module)


def _register_all() -> None:
    """Those of this library, of modules that the user named, and of installed packages."""
    _register_builtin()
    plugins.import_listed()
    plugins.load_all("narrows.parts")


def spec(instance: object) -> dict[str, Any]:
    """A nested description of a part, ready for JSON, from which `build` makes the same part.

    Raises PartError for an object that is not a part, or an argument that JSON cannot hold.
    """
    name = getattr(type(instance), "_part", None)
    if name is None or _PARTS.get(name) is not type(instance):
        raise PartError(
            f"expected a registered part, got {type(instance).__qualname__}; decorate its class with @part(name)"
        )
    arguments: dict[str, Any] = instance._arguments  # type: ignore[attr-defined]
    return {"part": name} | {key: _plain(value, name, key) for key, value in arguments.items()}


def build(description: dict[str, Any]) -> Any:
    """The part that `description` (from `spec`, or parsed JSON) describes; the description is not changed.

    Raises PartError for an unknown part and for an unknown, missing or invalid argument; the message names the part and
    the nearest known name.
    """
    if not isinstance(description, dict) or not isinstance(description.get("part"), str):
        raise PartError(f"expected a part as {{'part': name, ...}}, got {shortened(description)}")
    name = description["part"]
    cls = find(name)
    parameters = inspect.signature(cls).parameters
    arguments = {key: value for key, value in description.items() if key != "part"}
    for key in arguments:
        if key not in parameters:
            raise PartError(
                f"{name} has no argument {key!r}{_nearest(key, parameters)}; it has {', '.join(parameters)}"
            )
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise PartError(f"{name} needs the argument {key!r}, which is missing")
    built = {key: _built(value) for key, value in arguments.items()}
    try:
        return cls(**built)
    except PartError:
        raise
    except (TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise PartError(f"{name} cannot be built from {shortened(arguments)}: {error}") from error


def _plain(value: Any, name: str, key: str) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, name, key) for item in value]
    if hasattr(type(value), "_part") or hasattr(value, "forward"):  # a module that is not registered is refused by name
        return spec(value)
    raise PartError(f"expected numbers, text or parts as arguments of {name}, got {key}={shortened(value)}")


def _built(value: Any) -> Any:
    if isinstance(value, dict):
        return build(value)
    if isinstance(value, list | tuple):
        return tuple(_built(item) for item in value)
    return value


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
