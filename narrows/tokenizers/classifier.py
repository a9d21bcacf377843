"""Images to .nrw streams, and streams to classes, with a classifier that has codes inside.

(C, H, W) ─ resize ─ encoder ─ bottleneck ─▶ Tokens ─▶ stream ─▶ Tokens ─▶ last stages ─▶ logits
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from narrows.bitstream import Tables, read_header
from narrows.codecs.bottlenecks.entropy.factorized import FactorizedPrior
from narrows.codecs.image.narrowed import ClassifyingCodec
from narrows.errors import InputError, shortened
from narrows.media.buffers import Bytes
from narrows.media.extents import ImageExtent
from narrows.media.image.resize import Resize
from narrows.media.image.signal import Pixels
from narrows.parts import part
from narrows.tokenizers.image_arrays import Array, as_opaque
from narrows.tokenizers.model import Model
from narrows.tokenizers.tokens import Tokens

BATCH = 64  # images per call of the networks
MAX_LABEL = 200  # characters
T = TypeVar("T")


@part("image-classifier")
class ImageClassifier(Model):
    """Classifies images from their streams: one side makes the streams, the other needs nothing but them.

    Args:
        codec: the network.
        size: height and width of the images that it takes, in pixels. Others are resized, and cropped to the centre.
        labels: names of the classes.

    Raises:
        InputError: for a size that is no multiple of the encoder's stride, for labels of another number, and for an
            entropy model that is no FactorizedPrior.
    """

    kind: ClassVar[str] = "image-classifier"
    codec: ClassifyingCodec

    def __init__(self, codec: ClassifyingCodec, size: int, labels: Sequence[str]) -> None:
        if not isinstance(codec, ClassifyingCodec):
            raise InputError(f"expected a ClassifyingCodec, got {type(codec).__name__}")
        super().__init__(codec)
        if self.entropy_model is not None and not isinstance(self.entropy_model, FactorizedPrior):
            name = type(self.entropy_model).__name__
            raise InputError(f"expected codebooks or a FactorizedPrior as the bottleneck, got {name}")
        self.resize, self.size, self.labels = Resize(size), size, tuple(labels)
        if any(size % stride for stride in codec.encoder.stride):
            raise InputError(f"expected a size that is a multiple of {codec.encoder.stride}, got {size}")
        if not all(isinstance(label, str) and len(label) <= MAX_LABEL for label in labels):
            raise InputError(f"expected labels as text of at most {MAX_LABEL} characters, got {shortened(labels)}")
        if len(self.labels) != codec.classes:
            raise InputError(f"expected labels of {codec.classes} classes, got {len(self.labels)}")

    def compress(self, images: Sequence[Array]) -> list[bytes]:
        """An .nrw stream of each image (C, H, W), C 1 or 3, floats in [-1, 1] or uint8; or images of Pillow.

        Raises InputError for other images, and if an entropy model has no tables.
        """
        return [tokens.compress(self._tables()) for tokens in self.encode_batch(images)]

    def classify(self, streams: Sequence[Bytes]) -> Tensor:
        """Logits (N, classes) of streams.

        Raises:
            WrongModel: for a stream of another model.
            StreamError, DamagedStream: for a stream that cannot be read.
        """
        return self.classify_tokens([self.decompress(stream) for stream in streams])

    @torch.inference_mode()
    def encode_batch(self, images: Sequence[Array]) -> list[Tokens]:
        """The Tokens of each image; see `compress`."""
        found = []
        quality_index = None if self.entropy_model is None else 0
        extent, radices = ImageExtent(self.size, self.size, 3), self.codec.bottleneck.radices
        for batch in _batches(images):
            x = torch.stack([self.prepared(image) for image in batch]).to(self.device)
            codes = self.codec.encode(x).cpu().split(1)
            found += [Tokens(each, radices, extent, self.name, self.fingerprint, quality_index) for each in codes]
        return found

    @torch.inference_mode()
    def classify_tokens(self, items: Sequence[Tokens]) -> Tensor:
        """Logits (N, classes) of Tokens. Raises WrongModel and InputError for those of another model."""
        grid = tuple(self.size // stride for stride in self.codec.encoder.stride)
        for tokens in items:
            self.check_model(tokens.model, tokens.fingerprint)
            if tokens.codes.shape != (1, len(self.codec.bottleneck.codebook_sizes), *grid):
                raise InputError(f"expected codes of a grid {grid}, got {tuple(tokens.codes.shape)}")
            self.codec.bottleneck.check_codes(tokens.codes)
        batches = [torch.cat([tokens.codes for tokens in batch]).long() for batch in _batches(items)]
        logits = [self.codec.decode(codes.to(self.device)).float().cpu() for codes in batches]
        return torch.cat(logits) if logits else torch.zeros(0, self.codec.classes)

    def decompress(self, stream: Bytes) -> Tokens:
        """The Tokens of a stream. Raises as `classify` does."""
        header = read_header(stream)
        self.check_model(header.model, header.fingerprint.hex())
        return Tokens.decompress(stream, self._tables())

    def prepared(self, image: Array) -> Tensor:
        """An image as the network takes it: (3, size, size) float32 in [-1, 1]."""
        array = as_opaque(image)
        if array.dtype != np.uint8 and array.shape[1:] != (self.size, self.size):
            raise InputError(
                f"expected floats of {self.size} × {self.size} pixels, got {array.shape[1:]}; resize them, or give "
                "uint8, which is resized"
            )
        if array.dtype == np.uint8:
            pixels = torch.from_numpy(as_size(array.astype(np.uint8), self.resize)).float() / 127.5 - 1
        else:
            pixels = torch.from_numpy(np.array(array, np.float32))
        return pixels.expand(3, -1, -1)

    def _tables(self) -> Tables | None:
        tables = self.coding_tables
        if self.entropy_model is not None and tables is None:
            raise InputError(f"expected frequency tables for {self.name}, got none; set its `tables`")
        return tables


def as_size(pixels: Pixels, resize: Resize) -> Pixels:
    """Pixels (C, H, W) uint8 of the size that `resize` makes; those that have it are not changed."""
    return pixels if pixels.shape[1:] == (resize.size, resize.size) else resize(pixels)


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
