"""Discriminator of latents, those of a frozen codec against those that a bottleneck around it returns."""

from torch import Tensor, nn

from narrows.errors import InputError
from narrows.recipes.discriminators.convolutions import ConvDiscriminator

DEPTH = 5


class LatentDiscriminator(nn.Module):
    """Convolutional discriminator of latents (B, D, *grid) of about unit variance, with a logit for each patch.

    Those of audio, (B, D, F), are judged as an image of one channel, D high and F wide, as Re-Bottleneck does: six
    convolutions without strides, of which all but the last see 3 channels and 7 frames. (There, the first one sees 3
    frames, the width is 256, and frames are not padded, so that short crops have none left.)

    The channels of latents have no order on which such convolutions could build, and with two or three axes, positions
    have enough neighbours without them: over (H, W) and (T, H, W), D is the number of input channels, and convolutions
    see 3 positions along each axis.

    Args:
        dim: channels D of the latents.
        axes: number of axes of the grid, 1 to 3.
        width: channels of the layers.

    Raises:
        InputError: for another number of axes.
    """

    def __init__(self, dim: int, axes: int, width: int = 64) -> None:
        super().__init__()
        if axes not in (1, 2, 3):
            raise InputError(f"expected latents with 1, 2 or 3 axes, got {axes}")
        self.as_image = axes == 1
        channels, kernel = (1, (3, 7)) if self.as_image else (dim, (3,) * axes)
        self.convs = ConvDiscriminator((channels, *(width,) * DEPTH), kernel, (1,) * len(kernel), (3,) * len(kernel))

    def forward(self, z: Tensor) -> list[Tensor]:
        """Compute the features of each layer from latents (B, D, *grid), the logits (B, 1, ...) last."""
        features: list[Tensor] = self.convs(z[:, None] if self.as_image else z)
        return features
