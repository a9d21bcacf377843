"""The handwritten digits of scikit-learn, 8 × 8 pixels, for the experiments on classifiers."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

TEST_SHARE = 0.3


@dataclass(frozen=True)
class Digits:
    """Images (N, 3, 8, 8) float32 in [-1, 1] with 17 grey levels, equal in all channels, and their classes (N,)."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def digits(seed: int) -> Digits:
    """The 1797 digits, of which a random part is for tests."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(images).float().view(-1, 1, 8, 8).expand(-1, 3, -1, -1) / 8 - 1
    y = torch.from_numpy(labels).long()
    order = np.random.default_rng(seed).permutation(len(y))
    cut = round(len(y) * TEST_SHARE)
    test, train = torch.from_numpy(order[:cut]), torch.from_numpy(order[cut:])
    return Digits(x[train].contiguous(), y[train], x[test].contiguous(), y[test])


@torch.no_grad()
def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of the images whose largest logit is that of their class, in percent."""
    return 100 * float((logits.argmax(1) == labels).float().mean())


def frozen(module: nn.Module) -> nn.Module:
    """The module in eval mode, without gradients of its weights."""
    return module.requires_grad_(False).eval()
