"""Batches of clips as video codecs see them: a codec with stride s in time repeats the first frame s - 1 times."""

import torch
from torch import Tensor


def with_first_repeated(x: Tensor, stride: int) -> Tensor:
    """Clips (B, C, T, H, W) with stride - 1 copies of their first frame in front, as VideoTokenizer codes them."""
    return torch.cat((x[:, :, :1].expand(-1, -1, stride - 1, -1, -1), x), 2)


def with_still_starts(x: Tensor, stride: int, fraction: float) -> Tensor:
    """A batch of clips (B, C, T, H, W), some of which, drawn at random, begin with `stride` copies of one frame.

    Args:
        x: clips; they are not changed.
        stride: of the codec in time.
        fraction: of the clips that begin so, on average.
    """
    still = round(len(x) * fraction + torch.rand(()).item() - 0.5)
    if still <= 0:
        return x
    x = x.clone()
    x[-still:, :, : stride - 1] = x[-still:, :, stride - 1 : stride]
    return x.roll(int(torch.randint(len(x), ())), 0)  # qualities may go with the place in the batch
