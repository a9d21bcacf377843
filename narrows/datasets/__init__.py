"""Whole data sets: folders, manifests, tars and tables to shards of tokens, on one machine or many.

>>> import narrows
>>> from narrows import datasets
>>> narrows.tokenize(datasets.Task("recordings/", "speech", "tokens/"))
>>> data = datasets.load("tokens/")
>>> data[0], data.metadata(0), data.by_key("speaker1/take3")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from narrows.datasets.reader import TokenData, TokenStream, load
    from narrows.datasets.tokenize import Task

__all__ = ["Task", "TokenData", "TokenStream", "load"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that planning needs no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    module = "tokenize" if name == "Task" else "reader"
    return getattr(import_module(f"{__name__}.{module}"), name)
