import math

import pytest
import torch
from torch import nn

from narrows.codecs import (
    IBQ,
)
from narrows.codecs.bottlenecks import ibq
from narrows.errors import InputError


def test_every_code_of_ibq_gets_a_gradient() -> None:
    torch.manual_seed(0)
    bottleneck = IBQ(4, entries=64, code_dim=4).train()
    bottleneck(torch.randn(1, 4, 5)).latents.sum().backward()
    assert bottleneck.codebook.grad is not None
    assert (bottleneck.codebook.grad.norm(dim=1) > 0).all()


def test_ibq_is_its_formula_in_any_number_of_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    bottleneck = IBQ(4, entries=32, code_dim=4, temperature=0.5).train()
    monkeypatch.setattr(ibq, "CHUNK", 32 * 7)  # 7 of the 40 vectors at a time
    z = torch.randn(2, 4, 20, requires_grad=True)
    weights = torch.randn(2, 4, 20)
    quantized = bottleneck(z)
    ((quantized.latents * weights).sum() + sum(quantized.losses.values())).backward()
    gradients = [z.grad, bottleneck.codebook.grad]
    z.grad = bottleneck.codebook.grad = None

    flat, codebook = z.movedim(1, 2).flatten(0, 1), bottleneck.codebook
    logits = flat @ codebook.T
    p = logits.softmax(-1)
    hard = nn.functional.one_hot(logits.argmax(-1), 32).float()
    assert torch.equal(quantized.codes.flatten(), logits.argmax(-1))
    chosen = (hard - p.detach() + p) @ codebook
    latents = chosen.view(2, 20, 4).movedim(2, 1)
    torch.testing.assert_close(quantized.latents, latents)
    sharp = (logits / 0.5).softmax(-1)
    entropy = -(sharp * sharp.log()).sum(-1).mean() + (sharp.mean(0) * sharp.mean(0).log()).sum()
    torch.testing.assert_close(quantized.losses["sample_entropy"] + quantized.losses["diversity"], entropy)
    mse = nn.functional.mse_loss
    losses = mse(chosen, flat) + mse(hard @ codebook, flat.detach()) + mse((hard @ codebook).detach(), flat) + entropy
    ((latents * weights).sum() + losses).backward()
    for ours, theirs in zip(gradients, [z.grad, codebook.grad], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: IBQ(8, entries=1),
        lambda: IBQ(8, temperature=math.nan),
    ],
)
def test_invalid_arguments_raise(make: object) -> None:
    with pytest.raises(InputError, match="expected"):
        make()  # type: ignore[operator]
