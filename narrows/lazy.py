"""Public names of a package that are imported on first use, so that importing the package costs nothing."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from importlib import import_module
from typing import Any

from narrows.extras import needs_extra


def lazy(
    package: str, modules: Mapping[str, str | None], extras: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package.

    Args:
        package: name of the package.
        modules: the public names, each with the module of the package that has it; None for a name that is a module.
        extras: extras of narrows that names need.
    """

    def getattribute(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(modules)}")
        module, extra = modules[name], (extras or {}).get(name)
        with needs_extra(extra) if extra else nullcontext():
            found = import_module(f"{package}.{module or name}")
        return found if module is None else getattr(found, name)

    return getattribute, lambda: sorted(modules)
