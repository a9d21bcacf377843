"""What a training run of an image tokenizer is made of: a codec, distances and discriminators of pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from narrows.checkpoints.folder import check_name
from narrows.codecs.codec import Codec
from narrows.recipes.data.synthetic import made_up_pictures
from narrows.recipes.settings import WEIGHTS, AdamW, Adversary, Schedule
from narrows.recipes.training.image_recipe import Photos

if TYPE_CHECKING:
    from narrows.recipes.training.base import Descent


@dataclass(frozen=True)
class TokenizerRecipe:
    """A whole training run: everything but the machine and the folder it writes to.

    losses: by name, weight and module of two pictures (B, 3, H, W), decoded and given, to a scalar. latent_losses: the
    same with modules of latents (B, D, h, w) and given picture; these may learn. weights: of the losses that the
    bottleneck returns, by the last part of their names. discriminators: modules of a picture to features, scores last.
    """

    name: str
    codec: Codec
    data: Photos
    losses: Mapping[str, tuple[float, nn.Module]]
    latent_losses: Mapping[str, tuple[float, nn.Module]]
    discriminators: Sequence[nn.Module]
    optimizer: AdamW
    schedule: Schedule
    adversary: Adversary
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)
    seed: int = 0

    def __post_init__(self) -> None:
        check_name(self.name)

    def training(self) -> "Descent":
        """The run as a Lightning module."""
        from narrows.recipes.training.image_tokenizer import TokenizerTraining

        return TokenizerTraining(self)

    def on_made_up_data(self, folder: Path) -> "TokenizerRecipe":
        """The same run on made-up pictures that are written to `folder`."""
        made_up_pictures(folder)
        return replace(self, data=replace(self.data, train=folder, valid=folder))

    def smoke(self) -> "TokenizerRecipe":
        """The same run cut down to seconds: every part of it is passed through once, nothing is learned."""
        return replace(
            self,
            data=replace(self.data, side=32, batch=2, workers=0),
            schedule=replace(self.schedule, steps=2, rise=1, validate_every=2),
            adversary=replace(self.adversary, start=1),
        )
