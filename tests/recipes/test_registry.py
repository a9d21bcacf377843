import inspect
import subprocess
import sys
from dataclasses import fields, is_dataclass
from typing import get_type_hints

import pytest
from docstring_parser import parse

from narrows.checkpoints.index import models
from narrows.errors import InputError
from narrows.recipes.registry import recipe_function, recipe_names
from narrows.recipes.training.base import Recipe


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_built_from_its_defaults(name: str) -> None:
    recipe = recipe_function(name)()
    assert isinstance(recipe, Recipe)


@pytest.mark.parametrize("name", recipe_names())
def test_every_setting_of_a_recipe_has_a_description(name: str) -> None:
    function = recipe_function(name)
    described = {parameter.arg_name for parameter in parse(function.__doc__ or "").params}
    assert described == set(inspect.signature(function).parameters)
    for kind in get_type_hints(function).values():
        if is_dataclass(kind) and not issubclass(kind, Recipe):
            described = {parameter.arg_name for parameter in parse(kind.__doc__ or "").params}
            assert described == {field.name for field in fields(kind)}, kind


def test_unknown_recipe_is_rejected() -> None:
    with pytest.raises(
        InputError,
        match=r"expected one of the recipes speech, audio, .*, rebottleneck, .*got 'speach'; did you",
    ):
        recipe_function("speach")


def test_listing_recipes_needs_no_torch() -> None:
    code = "import sys; from narrows.recipes import registry; registry.recipe_names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", recipe_names())
def test_trained_models_are_not_called_like_shipped_ones(name: str) -> None:
    assert recipe_function(name)().name == f"my-{name}"
    assert recipe_function(name)(name="other").name == "other"
    assert f"my-{name}" not in {model.name for model in models()}
