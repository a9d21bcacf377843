"""Recipes by what `codec train` is given. A recipe's module is imported when it is asked for: names need no torch.

speech, image, image-tokenizer      recipes of this package
NAME                                a recipe of an installed package (entry point group narrows.recipes)
FILE.py:FUNCTION, MODULE:FUNCTION   a function of your own, whose parameters are the settings
"""

import difflib
import traceback
from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import TYPE_CHECKING, Any

from narrows.errors import InputError, NarrowsError
from narrows.plugins import entry_points, import_target

if TYPE_CHECKING:
    from narrows.recipes.training.base import Recipe

GROUP = "narrows.recipes"  # of entry points


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
    """Names of the recipes of this package and of installed packages."""
    return (*_RECIPES, *sorted(entry_points(GROUP).keys() - _RECIPES.keys()))
