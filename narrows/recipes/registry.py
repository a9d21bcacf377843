"""The recipes by name. A recipe's module is imported when it is asked for, so listing names needs no torch."""

import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING

from narrows.errors import InputError

if TYPE_CHECKING:
    from narrows.recipes.training.base import Recipe


def _speech() -> "Callable[..., Recipe]":
    from narrows.recipes.speech import speech

    return speech


def _image() -> "Callable[..., Recipe]":
    from narrows.recipes.image import image

    return image


def _image_tokenizer() -> "Callable[..., Recipe]":
    from narrows.recipes.image_tokenizer import image_tokenizer

    return image_tokenizer


_RECIPES = {"speech": _speech, "image": _image, "image-tokenizer": _image_tokenizer}


def recipe_names() -> tuple[str, ...]:
    """Names of all recipes."""
    return tuple(_RECIPES)


def recipe_function(name: str) -> "Callable[..., Recipe]":
    """The function that builds the recipe `name` from its settings.

    Raises:
        InputError: For an unknown name.
    """
    if name not in _RECIPES:
        close = difflib.get_close_matches(name, _RECIPES, 1)
        hint = f"did you mean {close[0]!r}?" if close else "choose one of these"
        raise InputError(f"expected one of the recipes {', '.join(_RECIPES)}, got {name!r}; {hint}")
    return _RECIPES[name]()
