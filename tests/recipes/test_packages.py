"""help() of the packages lists what is in them."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PACKAGES = ["data", "discriminators", "initialization", "losses", "training"]


@pytest.mark.parametrize("name", ["", *(f".{name}" for name in PACKAGES)])
def test_a_package_lists_its_public_names_or_modules(name: str) -> None:
    package = import_module(f"narrows.recipes{name}")
    assert package.__file__ is not None
    modules = [path.name for path in Path(package.__file__).parent.glob("*.py") if path.name != "__init__.py"]
    for listed in getattr(package, "__all__", modules):
        assert listed in (package.__doc__ or ""), listed
        assert listed.endswith(".py") or getattr(package, listed).__module__.startswith("narrows.recipes.")


def test_the_packages_of_the_training_are_listed() -> None:
    recipes = import_module("narrows.recipes")
    assert all(f"{name}/" in (recipes.__doc__ or "") for name in PACKAGES)
    assert dir(recipes) == sorted(recipes.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Adam'; it has AdamW"):
        _ = recipes.Adam


def test_public_names_are_imported_when_they_are_used() -> None:
    code = "import sys, narrows.recipes; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
