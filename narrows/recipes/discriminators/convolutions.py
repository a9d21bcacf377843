"""The stack of two-dimensional convolutions that the audio discriminators share."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

Size = tuple[int, int]


class ConvDiscriminator(nn.Module):
    """Weight-normalized convolutions with leaky ReLU.

    Args:
        channels: Channels of the input and of each layer.
        kernel: Kernel of the layers, (height, width).
        stride: Stride of all layers but the first.
        last_kernel: Kernel of the layer that computes the logits.
    """

    def __init__(self, channels: Sequence[int], kernel: Size, stride: Size, last_kernel: Size = (3, 3)) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, kernel, stride if i else (1, 1), padding=(kernel[0] // 2, kernel[1] // 2)))
            for i, (a, b) in enumerate(pairwise(channels))
        )
        padding = (last_kernel[0] // 2, last_kernel[1] // 2)
        self.last = weight_norm(nn.Conv2d(channels[-1], 1, last_kernel, padding=padding))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute from x (B, C, H, W) the features of each layer and, last, the logits (B, 1, h, w)."""
        features = []
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), 0.1)
            features.append(x)
        return [*features, self.last(x)]
