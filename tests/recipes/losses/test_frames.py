import pytest
import torch

from narrows.codecs import FrameDecoder
from narrows.recipes.losses.frames import FrameMagnitudeLoss


def test_loss_of_an_exact_prediction_is_zero() -> None:
    decoder, loss = FrameDecoder(4, 8, 1), FrameMagnitudeLoss()
    x = torch.randn(1, 1, 5 * decoder.stride[0]) * 0.1
    exact = decoder.stft(x[:, 0])  # (B, frames, bins)
    decoder.predict = lambda z: (exact.abs(), exact)  # type: ignore[method-assign]
    assert loss(decoder, torch.zeros(1, 4, 5), x).item() == pytest.approx(0, abs=1e-6)
