"""Code that users bring along: modules that they name, and installed packages that announce parts, recipes or metrics.

A module is named with `codec --import`, or in the environment variable NARROWS_IMPORT, which worker processes inherit:
names and paths with the separator of PATH between them. A package announces what it has by entry points:

    [project.entry-points."narrows.parts"]     # the name of a part = the module that registers it
    my-bottleneck = "my_package.bottleneck"

    [project.entry-points."narrows.recipes"]   # a name for `codec train` = a function that returns a Recipe
    my-recipe = "my_package.recipes:my_recipe"

    [project.entry-points."narrows.metrics"]   # the name of a metric = the Metric
    my-metric = "my_package.metrics:MY_METRIC"

Only these are imported. A checkpoint names parts, never modules.
"""

import importlib
import importlib.metadata
import importlib.util
import os
import re
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from narrows.errors import InputError, NarrowsError, PluginWarning

VARIABLE = "NARROWS_IMPORT"
_LIBRARIES = ("stdlib", "purelib", "platlib")  # folders
Group = Literal["narrows.parts", "narrows.recipes", "narrows.metrics"]


def import_target(target: str) -> ModuleType:
    """Import a module by its dotted name, or a Python file by its path, once per process.

    Modules are also found in the current folder, as with `python -m`.

    Raises:
        InputError: if there is none, or importing it fails; the message names the line.
    """
    if target.endswith(".py"):
        return _import_file(Path(target).resolve())
    if not all(name.isidentifier() for name in target.split(".")):
        raise InputError(f"expected a module such as package.module or a file.py, got {target!r}")
    _add_to_path(os.getcwd())
    with _import_errors(target):
        return importlib.import_module(target)


def import_for_workers(targets: list[str]) -> None:
    """Import modules and files here, and in the worker processes that start later. Raises as `import_target` does."""
    for target in targets:
        import_target(target)
        target = str(Path(target).resolve()) if target.endswith(".py") else target
        listed = _listed()
        if target not in listed:
            os.environ[VARIABLE] = os.pathsep.join([*listed, target])


def import_listed() -> None:
    """Import the modules that NARROWS_IMPORT lists. Raises as `import_target` does."""
    for target in _listed():
        import_target(target)


def announced(group: Group) -> list[str]:
    """The names that installed packages announce in a group, sorted; nothing is imported."""
    return sorted(_entry_points(group))


def load(group: Group, name: str) -> Any:
    """The object that an installed package announces under a name.

    Raises:
        InputError: if importing it fails.
        KeyError: if none announces this name.
    """
    entry = _entry_points(group)[name]
    with _import_errors(f"{entry.value}, which {_package(entry)} announces"):
        return entry.load()


def load_all(group: Group) -> dict[str, Any]:
    """All objects that installed packages announce in a group; for one that cannot be imported a PluginWarning."""
    found = {}
    for name in announced(group):
        try:
            found[name] = load(group, name)
        except InputError as error:
            warnings.warn(f"left out {name}: {error}", PluginWarning, stacklevel=3)
    return found


def _listed() -> list[str]:
    return [target for target in os.environ.get(VARIABLE, "").split(os.pathsep) if target]


@cache
def _entry_points(group: Group) -> dict[str, importlib.metadata.EntryPoint]:
    return {entry.name: entry for entry in importlib.metadata.entry_points(group=group)}


def _package(entry: importlib.metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "a package"


def _import_file(path: Path) -> ModuleType:
    """A file in a package is a module of it; another is a module with the name of the file, or of its path where that
    is no name or that of another module."""
    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r}; check the path")
    name, folder = _package_name(path)
    _add_to_path(str(folder))  # as `python FILE` does
    if "." in name and _origin(name.partition(".")[0]) == folder / name.partition(".")[0] / "__init__.py":
        with _import_errors(path.name):
            return importlib.import_module(name)
    if not path.stem.isidentifier() or _origin(path.stem) not in (None, path):
        name = "file_" + re.sub(r"\W", "_", "_".join(path.with_suffix("").parts[1:]))
    else:
        name = path.stem
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs, as dataclasses in it need
    try:
        with _import_errors(path.name):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _package_name(path: Path) -> tuple[str, Path]:
    """The dotted name of a file, with the packages that it is in, and the folder of the first of these."""
    names, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        names.insert(0, folder.name)
        folder = folder.parent
    return ".".join(names), folder


def _origin(name: str) -> Path | None:
    """The file of a top-level module; None if there is no such module. Without a file it is a path of its own."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None) if module else importlib.util.find_spec(name)
    if module is None and spec is None:
        return None
    return Path(getattr(module, "__file__", None) or getattr(spec, "origin", None) or "").resolve()


def _add_to_path(folder: str) -> None:
    if folder not in sys.path:
        sys.path.append(folder)


@contextmanager
def _import_errors(what: str) -> Iterator[None]:
    """Turns errors of the imported code into an InputError that names its line."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, NarrowsError):
            reason = str(error)
        elif isinstance(error, SyntaxError):
            reason = error.msg if error.lineno is None else f"line {error.lineno}: {error.msg}"
        else:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            hidden = (__file__, importlib.__file__)
            frames = [
                frame
                for frame in traceback.extract_tb(error.__traceback__)
                if frame.filename not in hidden and not frame.filename.startswith("<frozen")
            ]
            own = [frame for frame in frames if not _of_library(frame.filename)] or frames
            if own:
                reason = f"{Path(own[-1].filename).name}, line {own[-1].lineno}: {reason}"
        raise InputError(f"cannot import {what} ({reason}); correct it, or leave it out") from error


def _of_library(file: str) -> bool:
    """Whether a file belongs to Python or to an installed package."""
    return any(file.startswith(sysconfig.get_path(name)) for name in _LIBRARIES)
