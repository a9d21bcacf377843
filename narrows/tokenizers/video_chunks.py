"""The latents of coded video, chunk by chunk: those of a part are decoded without the chunks before it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from narrows.bitstream.header import TIMES
from narrows.media.extents import VideoExtent
from narrows.tokenizers.video_times import times_of


@dataclass(frozen=True)
class CodedVideo:
    """A coded clip.

    Args:
        extent: size of the clip.
        steps: latent frames of a chunk.
        quality_index: of the codes, for an entropy model; otherwise None.
        attachments: bytes by name.
        latents_of: returns the latents (S, D, t, h, w) of a chunk, in one piece or several.
    """

    extent: VideoExtent
    steps: int
    quality_index: int | None
    attachments: Mapping[str, bytes]
    latents_of: Callable[[int], Iterable[Tensor]]

    @property
    def times(self) -> tuple[Fraction, ...] | None:
        """The times of the frames; None for a constant rate."""
        attached = self.attachments.get(TIMES)
        return None if attached is None else times_of(attached, self.extent.frames)

    def between(self, begin: int, end: int, size: int) -> Iterator[Tensor]:
        """The latent frames from `begin` to `end` - 1, in pieces of at most `size`."""
        for chunk in range(begin // self.steps, -(-end // self.steps)):
            place = chunk * self.steps
            for latents in self.latents_of(chunk):
                count = latents.shape[2]
                kept = latents[:, :, max(0, begin - place) : max(0, end - place)]
                place += count
                if kept.shape[2]:
                    yield from kept.split(size, 2)


def chunk_of(values: Tensor, number: int, steps: int) -> Tensor:
    """Chunk `number` of values (S, k, T, H, W): `steps` latent frames."""
    return values[:, :, number * steps : (number + 1) * steps]


def regrouped(pieces: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """Pieces (S, D, t, h, w) along time as pieces of `size` latent frames; the last one may have fewer."""
    waiting, count = list[Tensor](), 0
    for piece in pieces:
        while count + piece.shape[2] >= size:
            head, piece = piece.split([size - count, piece.shape[2] - (size - count)], 2)
            yield torch.cat([*waiting, head], 2)
            waiting, count = [], 0
        if piece.shape[2]:
            waiting.append(piece)
            count += piece.shape[2]
    if waiting:
        yield torch.cat(waiting, 2)
