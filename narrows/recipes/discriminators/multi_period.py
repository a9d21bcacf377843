"""Multi-period discriminator of audio (HiFi-GAN, Kong et al., arXiv 2010.05646, section 2.3)."""

from collections.abc import Sequence

from torch import Tensor, nn

from narrows.recipes.discriminators.convolutions import ConvDiscriminator


class PeriodDiscriminator(nn.Module):
    """Discriminator of a signal folded to (B, 1, T / period, period), with convolutions along its columns.

    Args:
        period: Period in samples.
        width: Channels of the first layer.
    """

    def __init__(self, period: int, width: int) -> None:
        super().__init__()
        self.period = period
        self.convs = ConvDiscriminator((1, width, 2 * width, 4 * width, 8 * width), (5, 1), (3, 1), (3, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the features of each layer from signals (B, 1, T), the logits last."""
        padded = nn.functional.pad(x, (0, -x.shape[2] % self.period))
        features: list[Tensor] = self.convs(padded.unflatten(2, (-1, self.period)))
        return features


class MultiPeriodDiscriminator(nn.ModuleList):
    """A list of PeriodDiscriminators, which are all called on the same signal.

    Args:
        periods: Their periods in samples.
        width: Channels of their first layers.
    """

    def __init__(self, periods: Sequence[int] = (2, 3, 5, 7, 11), width: int = 16) -> None:
        super().__init__(PeriodDiscriminator(period, width) for period in periods)
