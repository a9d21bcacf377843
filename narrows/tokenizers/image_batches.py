"""Encodes many image files, in batches of equal size."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from narrows.media import image as media
from narrows.media.files import Source
from narrows.media.image_signal import Pixels
from narrows.tokenizers.batches import Batches
from narrows.tokenizers.image_arrays import extent_of
from narrows.tokenizers.tokenizer import BatchEncoder
from narrows.tokenizers.tokens import Latents, Tokens

if TYPE_CHECKING:
    from narrows.tokenizers.image import ImageTokenizer


class ImageBatchEncoder(BatchEncoder):
    """Encodes images to Tokens, in batches of equal size, or to Latents, one at a time.

    Args:
        tokenizer: the tokenizer.
        batch: images per call of the network.
        latents: whether to make Latents instead of Tokens.
        background: colour behind transparent images; None to refuse them.
        settings: `quality` and `codebooks`.
    """

    def __init__(
        self, tokenizer: "ImageTokenizer", batch: int, latents: bool, background: str | None, **settings: float | None
    ) -> None:
        self._tokenizer, self._background = tokenizer, background

        def run(images: list[Pixels]) -> list[Any]:
            if latents:
                return [tokenizer.encode_latents(x) for x in images]
            return tokenizer.encode_batch(images, **settings)

        self._batches = Batches[Pixels, Any](run, batch)

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
        self._tokenizer.grid(extent_of(pixels))
        yield pixels

    def add(self, pieces: Iterator[Pixels]) -> Callable[[], Tokens | Latents]:
        """Encode an image; see `BatchEncoder.add`."""
        (pixels,), results = pieces, list[Any]()
        self._batches.add(pixels.shape, pixels, results.append)
        return lambda: results[0]
