"""Feature auto-encoders (arXiv 2512.07829): the recipe, and the Lightning module that trains it.

The paper's three stages are two phases here, since two of them do not depend on each other:

    images ─ backbone ─▶ features ─ attention, bottleneck, feature decoder ─▶ decoded features     the whole run
                         features + noise ─ pixel decoder ─▶ images                                first phase
                                     decoded features ─ pixel decoder ─▶ images                    second phase

The loss of the features trains everything before the pixel decoder, and no gradient of the images reaches it.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from narrows.codecs.base import Quantized
from narrows.codecs.image.feature_autoencoder import FeatureDecoder, FeatureEncoder
from narrows.errors import InputError
from narrows.recipes.losses.backbone import load_weights
from narrows.recipes.settings import check_range
from narrows.recipes.training.image_tokenizer import ImageTokenizerRecipe, ImageTokenizerTraining

FEATURES = "features"  # name of the loss of decoded features


@dataclass(frozen=True, kw_only=True)
class FeatureAutoencoderRecipe(ImageTokenizerRecipe):
    """A training run of a feature auto-encoder. The losses of the bottleneck include 'features', which needs a weight.

    'features' is the squared error of decoded features, a mean over items, channels and positions.

    Args:
        pretrained: Whether trained weights of the backbone are loaded at the start of a new run; if not, the backbone
            keeps the weights that it has.
        backbone_weights: .safetensors file with these weights; downloaded if not given.
        noise: Standard deviation of the noise on the features from which the pixel decoder learns in the first phase.
        decoded_start: First step at which the pixel decoder learns from decoded features instead.
    """

    pretrained: bool = True
    backbone_weights: Path | None = None
    noise: float = 0.4
    decoded_start: int = 500_000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(0, noise=self.noise, decoded_start=self.decoded_start)
        pair = (self.codec.encoder, self.codec.decoder)
        if not isinstance(pair[0], FeatureEncoder) or not isinstance(pair[1], FeatureDecoder):
            got = f"{type(pair[0]).__name__} and {type(pair[1]).__name__}"
            raise InputError(f"expected a codec of a FeatureEncoder and a FeatureDecoder, got {got}")
        if pair[0].backbone.widths[-1] != pair[1].pixels.dim:
            widths = f"{pair[0].backbone.widths[-1]} of the backbone, {pair[1].pixels.dim} of the pixel decoder"
            raise InputError(f"expected features of one number of channels, got {widths}")

    def training(self) -> "FeatureAutoencoderTraining":
        """The Lightning module that trains this recipe."""
        return FeatureAutoencoderTraining(self)

    def smoke(self) -> Self:
        """See `ImageTokenizerRecipe.smoke`; a step of each phase, and a backbone that needs no download."""
        return replace(super().smoke(), decoded_start=1, pretrained=self.backbone_weights is not None)


class FeatureAutoencoderTraining(ImageTokenizerTraining):
    """Trains a FeatureAutoencoderRecipe. The backbone is shared with the EMA of the codec, since it does not change.

    Args:
        recipe: Recipe to train.
    """

    recipe: FeatureAutoencoderRecipe

    def __init__(self, recipe: FeatureAutoencoderRecipe) -> None:
        super().__init__(recipe)
        ema: nn.Module = self.ema.encoder
        ema.backbone = self._encoder.backbone

    def initialize(self) -> None:
        """Load the weights of the backbone."""
        if self.recipe.pretrained:
            load_weights(self._encoder.backbone, self.recipe.backbone_weights)

    def coded(self, x: Tensor) -> tuple[Quantized, Tensor]:
        """See `ImageTokenizerTraining.coded`; the bottleneck's losses include that of the features."""
        decoder = self.codec.decoder
        assert isinstance(decoder, FeatureDecoder)
        features = self._encoder.features(x)
        quantized = self.codec.quantize(self._encoder.attention(features))
        decoded = decoder.features(quantized.latents).float()
        error = (decoded - features).square().flatten(1).mean(1)
        if int(self.step) < self.recipe.decoded_start:
            shown = features + self.recipe.noise * torch.randn_like(features)
        else:
            shown = decoded.detach()
        losses = {**quantized.item_losses, FEATURES: error}
        return replace(quantized, item_losses=losses), decoder.pixels(shown).float()

    def validation_step(self, x: Tensor, index: int) -> None:
        """See `ImageTokenizerTraining.validation_step`; and the squared error of features relative to their variance.

        It is 0 for perfect features, and 1 for their mean over the positions of the image.
        """
        super().validation_step(x, index)
        original = self.cut(x)
        if not original.numel():
            return
        decoder = self.ema.decoder
        assert isinstance(decoder, FeatureDecoder)
        features = self._encoder.features(original).float()
        decoded = decoder.features(self.ema.quantize(self.ema.encoder(original)).latents).float()
        spread = (features - features.mean((2, 3), keepdim=True)).square().mean().clamp(min=1e-10)
        self.log_item({"feature_error": (decoded - features).square().mean() / spread})

    @property
    def _encoder(self) -> FeatureEncoder:
        encoder = self.codec.encoder
        assert isinstance(encoder, FeatureEncoder)
        return encoder
