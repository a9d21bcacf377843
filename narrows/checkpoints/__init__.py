"""Checkpoints: tokenizers on the disk, on the Hugging Face Hub and in this package.

    narrows.load(model)      a tokenizer, by the name of a shipped model, folder or hub repository
    save(folder, tokenizer)  writes a checkpoint folder
    read(folder)             loads a checkpoint folder
    read_classifier(folder)  loads one of an image classifier
    models()                 the models that ship with the package, as a table; needs no torch
    ShippedModel             an entry of it

The modules:

    load.py     narrows.load
    folder.py   what a checkpoint folder holds
    index.py    the list of shipped models
    publish.py  adds a checkpoint to that list

The folders here are the shipped models.
"""

from typing import TYPE_CHECKING

from narrows.lazy import lazy

if TYPE_CHECKING:
    from narrows.checkpoints.folder import read, read_classifier, save
    from narrows.checkpoints.index import ShippedModel, models

__all__ = [
    "ShippedModel",
    "models",
    "read",
    "read_classifier",
    "save",
]

_MODULES = {
    "ShippedModel": "index",
    "models": "index",
    "read": "folder",
    "read_classifier": "folder",
    "save": "folder",
}

if not TYPE_CHECKING:  # type checkers know the names from the imports above
    __getattr__, __dir__ = lazy(__name__, _MODULES)
