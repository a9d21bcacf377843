"""What reading an item and taking it through the network means for each medium.

`read` runs in a thread, ahead of the network, and raises for an item that cannot be had. `take` gives what was read to
`batches` and returns what tells the values and the extent of the item, once the batches have finished.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.bitstream import AudioExtent, Extent, ImageExtent
from narrows.datasets.base import Entry
from narrows.datasets.sources import opened
from narrows.media import audio, image
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.batches import Batches
from narrows.tokenizers.image import ImageTokenizer
from narrows.tokenizers.resampling import Block
from narrows.tokenizers.windows import Window

WINDOW = 8  # times the encoder's reach, of windows in batches: overlap costs a third, few recordings are shorter
Coded = tuple[NDArray[np.generic], Extent]
Cut = tuple[AudioExtent, Window, Block]
Pixels = NDArray[np.uint8]
Thing = TypeVar("Thing")


class Encoding(Protocol[Thing]):
    """How the items of a medium are read and coded. seconds: spent in the network."""

    @property
    def seconds(self) -> float: ...

    def read(self, entry: Entry) -> Iterator[Thing]: ...

    def take(self, things: Iterator[Thing]) -> Callable[[], Coded]: ...

    def finish(self) -> None: ...


class Sounds:
    """Recordings to codes, or to real numbers.

    In batches windows are short, so that those of most recordings have one shape.
    """

    def __init__(self, tokenizer: AudioTokenizer, batch: int, codebooks: int | None, latents: bool) -> None:
        self._tokenizer, self._batches = tokenizer, tokenizer.batches(batch, latents)
        self._books = None if latents else tokenizer.check_codebooks(codebooks)
        reach = tokenizer.codec.encoder.reach
        self._window = None if batch == 1 or reach is None else WINDOW * max(1, reach)
        self.finish = self._batches.finish

    @property
    def seconds(self) -> float:
        return self._batches.seconds

    def read(self, entry: Entry) -> Iterator[Cut]:
        source = opened(entry)
        info = audio.probe(source)
        extent = AudioExtent(info.sample_rate, info.samples, info.channels)
        blocks = audio.blocks(source)
        for window, x in self._tokenizer.cut(blocks, info.samples, info.sample_rate, self._window):
            yield extent, window, x

    def take(self, things: Iterator[Cut]) -> Callable[[], Coded]:
        first = next(things)
        windows = ((window, x) for _, window, x in chain([first], things))
        return partial(self._coded, first[0], self._tokenizer.feed(self._batches, windows))

    def _coded(self, extent: AudioExtent, pieces: Sequence[Tensor]) -> Coded:
        if self._books is None:
            return torch.cat(list(pieces), 2).numpy().astype(np.float16), extent
        return self._tokenizer.joined(pieces, extent.samples, extent.sample_rate, self._books).codes.numpy(), extent


class Pictures:
    """Pictures to codes, those of one size together; or to real numbers, one by one."""

    def __init__(
        self, tokenizer: ImageTokenizer, batch: int, codebooks: int | None, quality: float | None, latents: bool
    ) -> None:
        self._tokenizer = tokenizer

        def coded(pictures: list[Pixels]) -> list[Coded]:
            tokens = tokenizer.encode_batch(pictures, quality, codebooks)
            return [(each.codes.numpy(), each.extent) for each in tokens]

        def narrowed(pictures: list[Pixels]) -> list[Coded]:
            return [(tokenizer.narrow(x)[None].numpy().astype(np.float16), _extent(x)) for x in pictures]

        self._batches = Batches(narrowed if latents else coded, batch)
        self.finish = self._batches.finish

    @property
    def seconds(self) -> float:
        return self._batches.seconds

    def read(self, entry: Entry) -> Iterator[Pixels]:
        x = np.ascontiguousarray(image.read(opened(entry)).transpose(2, 0, 1))
        self._tokenizer.grid(_extent(x))  # where it is too large, this item fails
        yield x

    def take(self, things: Iterator[Pixels]) -> Callable[[], Coded]:
        (x,), found = things, list[Coded]()
        self._batches.add(x.shape, x, found.append)
        return lambda: found[0]


def _extent(x: Pixels) -> ImageExtent:
    return ImageExtent(x.shape[1], x.shape[2], x.shape[0])
