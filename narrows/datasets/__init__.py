"""Whole data sets: folders, manifests, tars and tables to shards of tokens, on one machine or many.

>>> import narrows
>>> from narrows import datasets
>>> narrows.tokenize(datasets.Task("recordings/", "speech", "tokens/"))
>>> data = datasets.load("tokens/", ids="delayed", with_meta=True)
>>> data[0].key, data[0].value, data[0].meta, data.by_key("speaker1/take3"), data[0:3]
>>> loader = DataLoader(datasets.TokenStream(data), 8, collate_fn=datasets.Collate(data.vocabulary))

Task         what to tokenize, for `narrows.tokenize`
load         the items of finished shards, as TokenData
TokenData    items by index or key: Tokens, Latents or ids, with metadata as Examples
TokenStream  the same items, shuffled, split over ranks and workers
Example      an item with its key and metadata
Collate      makes a Batch of ids; `collate_fn` of a DataLoader
Batch        ids of several items, padded
export       items in the formats of other libraries

sources/     how items are listed and read
engines/     where shards are tokenized: processes, ranks, Ray
exporters/   the formats of other libraries
"""

from typing import TYPE_CHECKING

from narrows.lazy import lazy

if TYPE_CHECKING:
    from narrows.datasets.batches import Batch, Collate, Example
    from narrows.datasets.exporters import export
    from narrows.datasets.reader import TokenData, load
    from narrows.datasets.stream import TokenStream
    from narrows.datasets.tokenize import Task

__all__ = ["Batch", "Collate", "Example", "Task", "TokenData", "TokenStream", "export", "load"]

_MODULES = {
    "Batch": "batches",
    "Collate": "batches",
    "Example": "batches",
    "Task": "tokenize",
    "TokenData": "reader",
    "TokenStream": "stream",
    "export": "exporters",
    "load": "reader",
}


if not TYPE_CHECKING:  # type checkers know the names from the imports above
    __getattr__, __dir__ = lazy(__name__, _MODULES, dict.fromkeys(_MODULES, "datasets"))
