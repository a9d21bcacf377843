"""Classifiers with a bottleneck inside: images to codes, and codes to logits.

narrowed     x ──▶ encoder ──▶ entropy model ──▶ decoder ──▶ features ──▶ last stages of a classifier ──▶ logits
key-value    x ──▶ frozen encoder ──▶ keys ──▶ codes ──▶ values of the codes, their mean ──▶ logits
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from narrows.codecs.base import Bottleneck, Decoder, Encoder, Quantized
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.image.classifiers import Classifier
from narrows.errors import InputError
from narrows.parts import part


@dataclass(frozen=True)
class Classified:
    """Result of a `ClassifyingCodec`.

    Args:
        logits: (B, classes).
        quantized: what the bottleneck returned.
        features: (B, C, h, w) that replace those of the classifier, and those after them; empty without such.
    """

    logits: Tensor
    quantized: Quantized
    features: tuple[Tensor, ...] = ()


class ClassifyingCodec(nn.Module, ABC):
    """Images (B, C, H, W) in [-1, 1] ⇄ codes (B, K, h, w) ──▶ logits (B, classes).

    In eval mode `decode(encode(x))` equals `forward(x).logits` up to rounding errors.

    Attributes:
        encoder: images to latents.
        bottleneck: latents to codes.
        classes: number of classes.
    """

    encoder: Encoder
    bottleneck: Bottleneck
    classes: int

    def __init__(self, encoder: Encoder, bottleneck: Bottleneck) -> None:
        super().__init__()
        if not isinstance(encoder, Encoder) or not isinstance(bottleneck, Bottleneck):
            given = f"{type(encoder).__name__} and {type(bottleneck).__name__}"
            raise InputError(f"expected an encoder and a bottleneck, got {given}")
        encoder.check_declarations()
        bottleneck.check_declarations()
        if encoder.dim != bottleneck.dim:
            raise InputError(
                f"expected parts of one latent dim, got encoder {encoder.dim}, bottleneck {bottleneck.dim}"
            )
        if not bottleneck.codebook_sizes or len(encoder.stride) != 2:
            raise InputError("expected an encoder of images and a bottleneck with codes, got another")
        self.encoder, self.bottleneck = encoder, bottleneck

    @abstractmethod
    def forward(self, x: Tensor) -> Classified:
        """Images (B, C, H, W) to Classified."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, K, h, w) to logits (B, classes)."""

    def encode(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to codes (B, K, h, w)."""
        return self.bottleneck.encode(self.encoder(x))


@part("narrowed-classifier")
class NarrowedClassifier(ClassifyingCodec):
    """A classifier whose first stages are replaced by encoder, bottleneck and decoder.

    Entropic Student: Matsubara et al., arXiv 2108.11898; without an entropy model: BottleFit, arXiv 2201.02693.

    Args:
        encoder: images to latents.
        bottleneck: between them, such as a FactorizedPrior.
        decoder: latents to the features after the replaced stages.
        classifier: the classifier, which is not copied; the weights of the replaced stages are removed.
        cut: number of stages that are replaced.

    Raises:
        InputError: for parts that do not fit each other.
    """

    kind = "classifying-codec"

    def __init__(
        self, encoder: Encoder, bottleneck: Bottleneck, decoder: Decoder, classifier: Classifier, cut: int = 1
    ) -> None:
        super().__init__(encoder, bottleneck)
        if not isinstance(decoder, Decoder) or not isinstance(classifier, Classifier):
            given = f"{type(decoder).__name__} and {type(classifier).__name__}"
            raise InputError(f"expected a decoder and a classifier, got {given}")
        classifier.check_cut(cut)
        if decoder.dim != bottleneck.dim or encoder.channels != classifier.channels:
            raise InputError(
                f"expected a decoder of {bottleneck.dim} channels of latents and an encoder of {classifier.channels} "
                f"channels of images, got {decoder.dim} and {encoder.channels}"
            )
        stride = classifier.strides[cut - 1]
        expected = (classifier.dims[cut - 1], encoder.stride)
        found = (decoder.channels, tuple(factor * stride for factor in decoder.stride))
        if found != expected:
            raise InputError(
                f"expected a decoder to {expected[0]} channels with 1/{stride} of the encoder's stride "
                f"{encoder.stride}, as the features after {cut} stages have, got {decoder.channels} and "
                f"{decoder.stride}"
            )
        classifier.remove_stages(range(cut))
        self.decoder, self.tail, self.cut, self.classes = decoder, classifier, cut, classifier.classes

    def forward(self, x: Tensor) -> Classified:
        """See `ClassifyingCodec.forward`; `features` are those after the replaced stages and all later ones."""
        quantized: Quantized = self.bottleneck(self.encoder(x))
        return self.finish(quantized)

    def finish(self, quantized: Quantized) -> Classified:
        """The result for quantized latents."""
        features = self.decoder(quantized.latents.to(_dtype(self.decoder)))
        outputs = self.tail.outputs(features, self.cut)
        return Classified(outputs[-1], quantized, (features, *outputs[:-1]))

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, K, h, w) to logits (B, classes)."""
        return self.tail.outputs(self.decoder(self.bottleneck.decode(codes).to(_dtype(self.decoder))), self.cut)[-1]


@part("key-value-classifier")
class KeyValueClassifier(ClassifyingCodec):
    """The discrete key-value bottleneck (Träuble et al., arXiv 2207.11240).

    Each code of each codebook, a key, has a vector of logits as its value. The logits of an image are the mean of the
    values of its codes. Encoder and keys are frozen: a step of training changes the values of the codes of its images
    alone, so what was learned of others stays.

    Args:
        encoder: images to features.
        keys: bottleneck that finds the codes, such as KeyCodebooks.
        classes: number of classes.

    Raises:
        InputError: for parts that do not fit each other.
    """

    kind = "classifying-codec"
    offsets: Tensor

    def __init__(self, encoder: Encoder, keys: Bottleneck, classes: int = 10) -> None:
        super().__init__(encoder, keys)
        check_integers(1, MAX_SIZE, classes=classes)
        self.classes = classes
        sizes = torch.tensor((0, *keys.codebook_sizes))
        self.register_buffer("offsets", sizes.cumsum(0)[:-1], persistent=False)
        self.values = nn.Parameter(torch.zeros(sum(keys.codebook_sizes), classes))
        encoder.requires_grad_(False).eval()
        keys.requires_grad_(False)

    def train(self, mode: bool = True) -> "KeyValueClassifier":
        """Training mode, in which keys are EMAs of features; the encoder stays in eval mode."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, x: Tensor) -> Classified:
        """See `ClassifyingCodec.forward`; there are no `features`. In training mode keys are updated."""
        with torch.no_grad():
            quantized: Quantized = self.bottleneck(self.encoder(x))
        assert quantized.codes is not None
        return Classified(self.decode(quantized.codes), quantized)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, K, h, w) to logits (B, classes)."""
        rows = codes.flatten(2) + self.offsets[:, None]  # (B, K, N)
        return nn.functional.embedding(rows, self.values).mean((1, 2))


def _dtype(network: nn.Module) -> torch.dtype:
    for parameter in network.parameters():
        return parameter.dtype
    return torch.float32
