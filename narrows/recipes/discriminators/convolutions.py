"""The stack of two-dimensional convolutions that judges a picture of a signal, whatever the picture shows."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

Size = tuple[int, int]


class Judge(nn.Module):
    """(B, C, H, W) to the features of each layer and, last, a map of scores: high where the picture seems real."""

    def __init__(self, channels: Sequence[int], kernel: Size, stride: Size, last_kernel: Size = (3, 3)) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, kernel, stride if i else (1, 1), padding=(kernel[0] // 2, kernel[1] // 2)))
            for i, (a, b) in enumerate(pairwise(channels))
        )
        margin = (last_kernel[0] // 2, last_kernel[1] // 2)
        self.score = weight_norm(nn.Conv2d(channels[-1], 1, last_kernel, padding=margin))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of every layer, the scores last."""
        features = []
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), 0.1)
            features.append(x)
        return [*features, self.score(x)]
