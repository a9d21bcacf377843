"""A Gaussian bottleneck without projections, for decoders that take the channels as they are (Stable Audio's VAE)."""

import torch
from torch import Tensor, nn

from narrows.codecs.bottlenecks.gaussian import Gaussian
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.parts import part

MIN_DEVIATION = 1e-4  # standard deviation, as in stable-audio-tools


@part("split-gaussian")
class SplitGaussian(Gaussian):
    """Latents of 2 C channels are the means of C channels, and scales; what is decoded is the channels and C zeros.

    The standard deviations are softplus(scale) + 1e-4. Training samples, eval mode takes the means. Loss: 'kl'.

    Args:
        channels: C.
    """

    def __init__(self, channels: int = 64) -> None:
        check_integers(1, MAX_SIZE // 2, channels=channels)
        super().__init__(2 * channels, channels)
        self.project_in = nn.Identity()  # type: ignore[assignment]
        self.project_out = nn.ConstantPad1d((0, channels), 0.0)  # type: ignore[assignment]

    def _log_variance(self, heads: Tensor) -> Tensor:
        deviations: Tensor = nn.functional.softplus(heads[..., self.channels :]) + MIN_DEVIATION
        return 2 * torch.log(deviations)
