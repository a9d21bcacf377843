"""Items with their keys and metadata, and batches of ids for training.

load(..., with_meta=True) ─▶ Example, Example, ... ─▶ Collate ─▶ Batch: ids (B, N) or (B, K, N), lengths, keys, meta
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from narrows.datasets.base import Json
from narrows.errors import InputError
from narrows.tokenizers.ids import Ids, Vocabulary, to_ids

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, eq=False)
class Example(Generic[T_co]):
    """An item of a data set that was loaded with metadata.

    Attributes:
        key: of the item.
        value: its ids, Tokens or Latents.
        meta: the other columns of the source.
    """

    key: str
    value: T_co
    meta: Mapping[str, Json]


@dataclass(frozen=True, eq=False)
class Batch:
    """Ids of several items, padded on the right.

    Attributes:
        ids: int64 (B, N) or (B, K, N).
        lengths: int64 (B,), ids per item without padding on the right.
        keys, meta: of the items; empty where they were loaded without metadata.
    """

    ids: Tensor
    lengths: Tensor
    keys: list[str]
    meta: list[Mapping[str, Json]]

    @property
    def mask(self) -> Tensor:
        """Bool (B, N), False for padding on the right."""
        return torch.arange(self.ids.shape[-1], device=self.ids.device) < self.lengths[:, None]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch on another device."""
        moved = [x.to(device, non_blocking=non_blocking) for x in (self.ids, self.lengths)]
        return replace(self, ids=moved[0], lengths=moved[1])

    def pin_memory(self) -> "Batch":
        """The same batch in pinned memory, as `DataLoader(pin_memory=True)` asks for it."""
        return replace(self, ids=self.ids.pin_memory(), lengths=self.lengths.pin_memory())


@dataclass(frozen=True)
class Collate:
    """Makes a Batch of items, as `collate_fn` of a DataLoader.

    Args:
        vocabulary: of the ids, `data.vocabulary`.
        begin_end: whether to put the ids `begin` and `end` around each item.
    """

    vocabulary: Vocabulary
    begin_end: bool = False

    def __call__(self, items: Sequence[Ids] | Sequence[Example[Tensor]]) -> Batch:
        """A Batch of ids (N,) or (K, N), or of Examples of them.

        Raises InputError for no items, and for items that are no ids or have different numbers of rows.
        """
        if not isinstance(items, list | tuple):
            raise InputError(f"expected a list of items, got {type(items).__name__}; for one item give [item]")
        examples = [item for item in items if isinstance(item, Example)]
        values = [item.value if isinstance(item, Example) else item for item in items]
        wrong = next((type(x).__name__ for x in values if not isinstance(x, Tensor | np.ndarray | list | tuple)), None)
        if not values or wrong is not None:
            got = wrong or "no items"
            raise InputError(f"expected items of ids (N,) or (K, N), got {got}; load them with ids='delayed'")
        ids = [to_ids(value) for value in values]
        shapes = [tuple(x.shape) for x in ids]
        if any(len(shape) not in (1, 2) for shape in shapes) or len({shape[:-1] for shape in shapes}) > 1:
            got = ", ".join(map(str, sorted({*shapes})[:3]))
            raise InputError(f"expected items of ids (N,) or (K, N), all of as many rows, got shapes {got}")
        if self.begin_end:
            ids = [self.vocabulary.add_begin_end(x) for x in ids]
        lengths = [x.shape[-1] for x in ids]
        padded = [pad(x, (0, max(lengths) - x.shape[-1]), value=self.vocabulary.padding) for x in ids]
        keys, meta = [example.key for example in examples], [example.meta for example in examples]
        return Batch(torch.stack(padded), torch.tensor(lengths), keys, meta)
