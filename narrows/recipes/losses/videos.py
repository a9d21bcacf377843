"""Losses of video (B, 3, T, H, W): those of images on each frame, and the error of frame differences."""

from torch import Tensor, nn


class OnFrames(nn.Module):
    """A loss of images (B, 3, H, W) on all frames of clips (B, 3, T, H, W).

    Args:
        loss: Module of a decoded and an original batch of images.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar."""
        value: Tensor = self.loss(frames_of(x), frames_of(target))
        return value


class FrameDifferenceLoss(nn.Module):
    """Mean absolute error of the differences between consecutive frames: flicker. Zero for clips of one frame."""

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Loss between two clips (B, 3, T, H, W), a scalar."""
        error = x - target
        return error.diff(dim=2).abs().mean() if error.shape[2] > 1 else error.sum() * 0


def frames_of(x: Tensor) -> Tensor:
    """The frames (B T, C, H, W) of clips (B, C, T, H, W)."""
    return x.transpose(1, 2).flatten(0, 1)
