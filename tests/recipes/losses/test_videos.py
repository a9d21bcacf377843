import torch
from torch import nn

from narrows.recipes.losses import FrameDifferenceLoss, OnFrames


def test_a_loss_of_images_sees_every_frame() -> None:
    x, y = torch.rand(2, 3, 5, 8, 8), torch.rand(2, 3, 5, 8, 8)
    torch.testing.assert_close(OnFrames(nn.L1Loss())(x, y), (x - y).abs().mean())
    seen = []

    class Seen(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            seen.append((a, b))
            return (a - b).mean()

    OnFrames(Seen())(x, y)
    assert seen[0][0].shape == (10, 3, 8, 8)
    assert torch.equal(seen[0][0][7], x[1, :, 2])
    assert torch.equal(seen[0][1][4], y[0, :, 4])


def test_a_constant_error_does_not_flicker() -> None:
    x = torch.rand(2, 3, 5, 8, 8)
    loss = FrameDifferenceLoss()
    assert float(loss(x + 0.5, x)) < 1e-6
    y = x.clone()
    y[:, :, 2] += 1
    torch.testing.assert_close(loss(y, x), torch.tensor(0.5))
    still = x[:, :, :1].requires_grad_()
    loss(still, x[:, :, :1]).backward()
    assert not still.grad.any()
