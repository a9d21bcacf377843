"""A continuous bottleneck that changes nothing: the latents of the encoder are those that a generative model makes."""

from torch import nn

from narrows.codecs.bottlenecks.continuous import Continuous
from narrows.parts import part


@part("identity")
class Identity(Continuous):
    """The channels are the latents themselves, of any range. Nothing is learned, and there are no codes.

    Args:
        dim: D of the latents, and the number of channels.
    """

    def __init__(self, dim: int = 64) -> None:
        super().__init__(dim, 1, None)
        self.channels = dim
        self.project_in = self.project_out = nn.Identity()  # type: ignore[assignment]
