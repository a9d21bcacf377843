"""Encodes many image files, in batches of equal size."""

from collections.abc import Callable, Iterator
from typing import Any

from narrows.media import image as media
from narrows.media.files import Source
from narrows.media.image.resize import Resize
from narrows.media.image.signal import Pixels
from narrows.tokenizers.batches import BatchEncoder, Batches
from narrows.tokenizers.tokens import Latents, Tokens


class ImageBatchEncoder(BatchEncoder):
    """Encodes images in batches of equal size.

    Args:
        encode: encodes images of equal size.
        check: raises InputError for an image that the model does not take.
        batch: images per call of `encode`.
        background: colour behind transparent images; None to refuse them.
        resize: makes images of one size; None to keep their sizes.
    """

    def __init__(
        self,
        encode: Callable[[list[Pixels]], list[Any]],
        check: Callable[[Pixels], object],
        batch: int,
        background: str | None,
        resize: Resize | None,
    ) -> None:
        self._check, self._background, self._resize = check, background, resize
        self._batches = Batches[Pixels, Any](encode, batch)

    @property
    def seconds(self) -> float:
        """Time spent in the network."""
        return self._batches.seconds

    def finish(self) -> None:
        """Encode the images that still wait for a full batch."""
        self._batches.finish()

    def read(self, source: Source) -> Iterator[Pixels]:
        """Read the pixels of a file. Raises InputError for an image that is too large for the model.

        Raises MediaError for a transparent image if there is no background.
        """
        pixels = media.read_opaque(source, self._background).pixels
        pixels = pixels if self._resize is None else self._resize(pixels)
        self._check(pixels)
        yield pixels

    def add(self, pieces: Iterator[Pixels]) -> Callable[[], Tokens | Latents]:
        """Encode an image; see `BatchEncoder.add`."""
        (pixels,), results = pieces, list[Any]()
        self._batches.add(pixels.shape, pixels, results.append)
        return lambda: results[0]
