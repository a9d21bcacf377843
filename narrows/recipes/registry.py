"""Recipes by what `codec train` is given. A recipe's module is imported when it is asked for: names need no torch.

speech, audio, image, image-tokenizer, feature-autoencoder, video, finetune, rebottleneck, narrowed-classifier,
key-value-classifier                recipes of this package
NAME                                a recipe that an installed package announces (see narrows/plugins.py)
FILE.py:FUNCTION, MODULE:FUNCTION   a function of your own, whose parameters are the settings
"""

import difflib
import inspect
import traceback
from argparse import ArgumentError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.errors import InputError, NarrowsError
from narrows.plugins import announced, import_target, load

if TYPE_CHECKING:
    from narrows.recipes.training.base import Recipe

Function = Callable[..., "Recipe"]


def _audio() -> Function:
    from narrows.recipes.audio import audio

    return audio


def _speech() -> Function:
    from narrows.recipes.speech import speech

    return speech


def _image() -> Function:
    from narrows.recipes.image import image

    return image


def _image_tokenizer() -> Function:
    from narrows.recipes.image_tokenizer import image_tokenizer

    return image_tokenizer


def _feature_autoencoder() -> Function:
    from narrows.recipes.feature_autoencoder import feature_autoencoder

    return feature_autoencoder


def _video() -> Function:
    from narrows.recipes.video import video

    return video


def _finetune() -> Function:
    from narrows.recipes.finetune import finetune

    return finetune


def _rebottleneck() -> Function:
    from narrows.recipes.rebottleneck import rebottleneck

    return rebottleneck


def _narrowed_classifier() -> Function:
    from narrows.recipes.narrowed_classifier import narrowed_classifier

    return narrowed_classifier


def _key_value_classifier() -> Function:
    from narrows.recipes.key_value_classifier import key_value_classifier

    return key_value_classifier


_RECIPES = {
    "speech": _speech,
    "audio": _audio,
    "image": _image,
    "image-tokenizer": _image_tokenizer,
    "feature-autoencoder": _feature_autoencoder,
    "video": _video,
    "finetune": _finetune,
    "rebottleneck": _rebottleneck,
    "narrowed-classifier": _narrowed_classifier,
    "key-value-classifier": _key_value_classifier,
}


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes of this package, and of those that installed packages announce."""
    return tuple(dict.fromkeys((*_RECIPES, *announced("narrows.recipes"))))


def recipe_function(target: str) -> Function:
    """The function that builds a recipe from its settings.

    Args:
        target: Name of a recipe, FILE.py:FUNCTION or MODULE:FUNCTION.

    Raises:
        InputError: For an unknown name, a file, module or function that there is not, an error in the file, and for
            anything else than a function.
    """
    if target in _RECIPES:
        return _RECIPES[target]()
    if target in announced("narrows.recipes"):
        return _checked(load("narrows.recipes", target), target)
    module, separator, name = target.rpartition(":")
    if separator and module and name:
        found = vars(import_target(module))
        if name not in found:
            functions = [key for key, each in found.items() if getattr(each, "__module__", "") == found["__name__"]]
            raise InputError(f"expected a function of {module}, got {name!r}{_nearest(name, functions)}")
        return _checked(found[name], target)
    hint = _nearest(target, recipe_names()) or "; choose one of these, or give your own as FILE.py:FUNCTION"
    if target.endswith(".py"):
        hint = f"; give a function of this file as {target}:FUNCTION"
    raise InputError(f"expected one of the recipes {', '.join(recipe_names())}, got {target!r}{hint}")


def recipe_name(target: str) -> str:
    """The name of a recipe without its file or module."""
    return target.rpartition(":")[2]


def check_recipe(target: str, made: object) -> "Recipe":
    """What a function has returned, if it is a recipe. Raises InputError for anything else."""
    from narrows.recipes.training.base import Recipe

    if not isinstance(made, Recipe):
        raise InputError(f"expected {target} to return a Recipe, got {_shown(made)}; return e.g. an AudioRecipe")
    return made


@contextmanager
def own_errors(target: str, function: Function) -> Iterator[None]:
    """Turn errors of a recipe of one's own into an InputError that names the line in its file."""
    try:
        yield
    except Exception as error:
        file = getattr(function, "__globals__", {}).get("__file__")
        if target in _RECIPES or isinstance(error, ArgumentError | MemoryError):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == file]
        if isinstance(error, NarrowsError | OSError) and not own:
            raise
        frame = (own or frames)[-1]
        reason = " ".join(str(error).split())
        kind = "" if isinstance(error, NarrowsError) else f"{type(error).__name__}: "
        raise InputError(
            f"{target} failed in {Path(frame.filename).name}, line {frame.lineno}: {kind}{reason}"
        ) from error


def _checked(function: object, target: str) -> Function:
    if not inspect.isfunction(function):  # settings are read from the types and the docstring of a function
        raise InputError(
            f"expected {target} to be a function that returns a Recipe, got {_shown(function)}; write a function "
            "whose parameters are the settings"
        )
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.annotation is parameter.empty and parameter.default is parameter.empty:
            raise InputError(f"expected a type and a default of each parameter of {target}, got none for {name!r}")
    return function


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _shown(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    return "None" if value is None else f"an object of the class {type(value).__qualname__}"
