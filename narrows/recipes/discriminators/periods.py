"""Multi-period discriminator: the signal folded at prime periods (HiFi-GAN, arXiv 2010.05646, section 2.3)."""

from collections.abc import Sequence

from torch import Tensor, nn

from narrows.recipes.discriminators.convolutions import Judge


class PeriodDiscriminator(nn.Module):
    """Signals (B, 1, T) as pictures (B, 1, T / period, period), judged column by column."""

    def __init__(self, period: int, width: int) -> None:
        super().__init__()
        self.period = period
        self.judge = Judge((1, width, 2 * width, 4 * width, 8 * width), (5, 1), (3, 1), (3, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of every layer, the scores last."""
        padded = nn.functional.pad(x, (0, -x.shape[2] % self.period))
        features: list[Tensor] = self.judge(padded.unflatten(2, (-1, self.period)))
        return features


class MultiPeriodDiscriminator(nn.ModuleList):
    """One PeriodDiscriminator a period; call each on the signal."""

    def __init__(self, periods: Sequence[int] = (2, 3, 5, 7, 11), width: int = 16) -> None:
        super().__init__(PeriodDiscriminator(period, width) for period in periods)
