"""Encodes many clips, one after another, each frame by frame."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch

from narrows.bitstream.header import TIMES
from narrows.media import video as media
from narrows.media.extents import VideoExtent
from narrows.media.files import Source
from narrows.tokenizers.batches import BatchEncoder
from narrows.tokenizers.tokens import Latents, Tokens
from narrows.tokenizers.video_tiles import Frame
from narrows.tokenizers.video_times import times_attachment


class VideoBatchEncoder(BatchEncoder):
    """Encodes clips one after another, each in blocks of its own. A few frames wait in memory.

    Args:
        encode: encodes frames at a frame rate.
        check_extent: raises InputError for a clip that cannot be encoded.
    """

    def __init__(
        self,
        encode: Callable[[Iterator[Frame], Fraction], Tokens | Latents],
        check_extent: Callable[[VideoExtent], None],
    ) -> None:
        self.encode, self.check_extent = encode, check_extent
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """Time spent in the network."""
        return self._seconds

    def finish(self) -> None:
        """Nothing waits."""

    def read(self, source: Source) -> Iterator[Any]:
        """The properties of a clip, then its frames, which are decoded one by one.

        Raises MediaError where the file is damaged, also after frames, and InputError for frames that are too large and
        times without a common unit.
        """
        with media.VideoReader(source, sound=False) as reader:
            info = reader.counted()
            self.check_extent(info.extent)
            if info.times is not None:
                times_attachment(info.times)
            yield info
            yield from reader.frames()

    def add(self, pieces: Iterator[Any]) -> Callable[[], Tokens | Latents]:
        """Encode a clip; see `BatchEncoder.add`."""
        begin, waited = time.perf_counter(), 0.0
        times = list[Fraction]()

        def pixels() -> Iterator[Frame]:
            nonlocal waited
            since = time.perf_counter()
            for frame in pieces:
                waited += time.perf_counter() - since
                times.append(frame.time)
                yield frame.pixels
                since = time.perf_counter()

        info: media.VideoInfo = next(pieces)
        result = self.encode(pixels(), Fraction(info.extent.rate, info.extent.rate_base))
        if isinstance(result, Tokens):
            result = replace(result, codes=result.codes.to(_narrowest(result.codebook_sizes)))
        if info.times is not None:
            result = replace(result, attachments={TIMES: times_attachment(times)})
        self._seconds += time.perf_counter() - begin - waited
        return lambda: result


def _narrowest(sizes: Sequence[int]) -> torch.dtype:
    """The narrowest type for the codes of codebooks, since those of a whole shard are in memory."""
    return torch.int16 if max(sizes) <= 1 << 15 else torch.int32 if max(sizes) <= 1 << 31 else torch.int64
