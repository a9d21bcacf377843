"""`help` of every package lists what is in it."""

import pkgutil
import re
from importlib import import_module

import pytest

import narrows

PACKAGES = ["narrows"] + [found.name for found in pkgutil.walk_packages(narrows.__path__, "narrows.") if found.ispkg]


@pytest.mark.parametrize("name", PACKAGES)
def test_the_docstring_names_what_is_in_a_package(name: str) -> None:
    package = import_module(name)
    words = set(re.findall(r"[\w-]+", package.__doc__ or ""))
    names = getattr(package, "__all__", None) or [found.name for found in pkgutil.iter_modules(package.__path__)]
    named = [
        each for each in names if callable(getattr(package, each, None)) or each not in getattr(package, "__all__", [])
    ]
    assert [each for each in named if each not in words and not each.startswith("_")] == []
