import math
import resource

import pytest
import torch
import vector_quantize_pytorch as reference

from narrows.codecs import BSQ, LFQ
from narrows.codecs.quantization.binary_entropy import code_entropy, sample_entropy
from narrows.errors import InputError


def all_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Probabilities (N, 2^bits) of all codes from logits (N, bits), one by one."""
    bits = logits.shape[1]
    corners = torch.arange(2**bits)[:, None] >> torch.arange(bits) & 1
    return (torch.nn.functional.logsigmoid(logits[:, None] * (2 * corners - 1))).sum(-1).exp()


@pytest.mark.parametrize("bits", [1, 2, 7])
def test_entropies_are_those_of_the_whole_table(bits: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(50, bits, dtype=torch.float64)
    table = all_probabilities(logits)
    torch.testing.assert_close(sample_entropy(logits), torch.special.entr(table).sum(1))
    torch.testing.assert_close(code_entropy(logits.unsqueeze(1)), torch.special.entr(table.mean(0)).sum())


def test_entropy_beyond_18_bits_is_an_upper_bound_reached_by_independent_blocks() -> None:
    spread = torch.zeros(64, 1, 36)
    assert code_entropy(spread).item() == pytest.approx(36 * math.log(2), rel=1e-5)
    tied = 50.0 * torch.tensor([-1.0, 1.0]).view(2, 1, 1).expand(2, 1, 36)  # two codes: one bit in truth
    assert code_entropy(tied).item() == pytest.approx(2 * math.log(2), rel=1e-4)


def test_checkpointed_rows_give_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(300, 2, 6, dtype=torch.float64, requires_grad=True)
    (whole,) = torch.autograd.grad(code_entropy(logits), logits)
    monkeypatch.setattr("narrows.codecs.quantization.binary_entropy.CHUNK", 64)
    (pieces,) = torch.autograd.grad(code_entropy(logits), logits)
    torch.testing.assert_close(whole, pieces)


@pytest.mark.parametrize("spherical", [False, True])
def test_parity_with_vector_quantize_pytorch(spherical: bool) -> None:
    """Codes, latents, losses and gradient, its settings: spherical for BSQ, commitment_loss_weight=1, temperature 1/2.

    Its first bit is the highest, ours the lowest. Its logarithms have a floor of 1e-5, which few probabilities meet at
    this temperature.
    """
    torch.manual_seed(0)
    kind = BSQ if spherical else LFQ
    ours = kind(6, bits=5, temperature=0.5)
    theirs = reference.LFQ(
        dim=6, codebook_size=32, spherical=spherical, commitment_loss_weight=1.0, entropy_loss_weight=0.1
    )
    theirs.project_in.load_state_dict(ours.project_in.state_dict())
    theirs.project_out.load_state_dict(ours.project_out.state_dict())
    a = (0.5 * torch.randn(2, 6, 400)).requires_grad_()
    b = a.detach().movedim(1, 2).requires_grad_()
    mine = ours(a)
    (latents, codes, _), parts = theirs(b, inv_temperature=2.0, return_loss_breakdown=True)
    reversed_bits = sum((codes >> i & 1) << (4 - i) for i in range(5))
    assert torch.equal(mine.codes[:, 0], reversed_bits)
    torch.testing.assert_close(mine.latents.movedim(1, 2), latents, atol=1e-6, rtol=0)
    torch.testing.assert_close(mine.losses["commitment"], parts.commitment)
    torch.testing.assert_close(mine.losses["sample_entropy"], parts.per_sample_entropy, atol=1e-3, rtol=0)
    torch.testing.assert_close(mine.losses["diversity"], -parts.batch_entropy, atol=1e-3, rtol=0)
    weights = torch.randn_like(latents)
    ((mine.latents.movedim(1, 2) * weights).sum() + 100 * sum(mine.losses.values())).backward()
    entropy = parts.per_sample_entropy - parts.batch_entropy
    ((latents * weights).sum() + 100 * (parts.commitment + entropy)).backward()
    torch.testing.assert_close(a.grad.movedim(1, 2), b.grad, atol=2e-4, rtol=1e-3)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [LFQ, BSQ])
def test_the_losses_spread_the_codes(kind: type[LFQ] | type[BSQ]) -> None:
    torch.manual_seed(0)
    bottleneck = kind(4, bits=6, temperature=0.1)
    z = 0.3 * torch.randn(1, 4, 2000) + 1
    optimizer = torch.optim.Adam(bottleneck.parameters(), lr=0.05)
    usage = []
    for _ in range(40):
        quantized = bottleneck(z)
        usage.append(quantized.metrics["perplexity"].item())
        loss = quantized.losses["sample_entropy"] + 2 * quantized.losses["diversity"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert usage[-1] > 2 * usage[0]


@pytest.mark.parametrize("bits", [18, 20, 36])
def test_large_implicit_codebooks_train_in_bounded_memory(bits: int) -> None:
    """A table of 4096 positions × 2^18 codes would take 4 GiB; ru_maxrss is in KiB, on a Mac in bytes."""
    bottleneck = LFQ(32, bits=bits)
    z = torch.randn(2, 32, 2048, requires_grad=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    quantized = bottleneck(z)
    (quantized.latents.mean() + sum(quantized.losses.values())).backward()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024 * (1 if before < 1 << 26 else 1024)
    assert z.grad is not None
    assert z.grad.isfinite().all()
    assert bottleneck.codebook_sizes == (2**bits,)
    assert bottleneck.radices[0][0] == 4096


def test_codes_of_the_sphere_have_length_one() -> None:
    bottleneck = BSQ(8, bits=8).eval()
    torch.nn.init.eye_(bottleneck.project_out.weight)
    torch.nn.init.zeros_(bottleneck.project_out.bias)
    lengths = bottleneck.decode(torch.arange(256).view(1, 1, -1)).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


@pytest.mark.parametrize("settings", [{"bits": 0}, {"bits": 63}, {"temperature": 0.0}, {"groups": 0}])
def test_invalid_arguments_raise(settings: dict[str, int]) -> None:
    for kind in (LFQ, BSQ):
        with pytest.raises(InputError):
            kind(4, **settings)  # type: ignore[arg-type]
