"""The stack of convolutions that the discriminators of audio and of latents share."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

Size = tuple[int, ...]
CONVOLUTIONS: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}  # by the number of axes


class ConvDiscriminator(nn.Module):
    """Weight-normalized convolutions over two or three axes with leaky ReLU.

    Args:
        channels: Channels of the input and of each layer.
        kernel: Kernel of the layers, (height, width) or (time, height, width).
        stride: Stride of all layers but the first.
        last_kernel: Kernel of the layer that computes the logits.
    """

    def __init__(self, channels: Sequence[int], kernel: Size, stride: Size, last_kernel: Size = (3, 3)) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[len(kernel)]
        padding, last_padding = (tuple(size // 2 for size in each) for each in (kernel, last_kernel))
        self.layers = nn.ModuleList(
            weight_norm(convolution(a, b, kernel, stride if i else 1, padding))
            for i, (a, b) in enumerate(pairwise(channels))
        )
        self.last = weight_norm(convolution(channels[-1], 1, last_kernel, padding=last_padding))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute from x (B, C, ...) the features of each layer and, last, the logits (B, 1, ...)."""
        features = []
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), 0.1)
            features.append(x)
        return [*features, self.last(x)]
