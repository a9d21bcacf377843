"""What sets grouped, split and multi-rate quantizers, and IBQ, apart."""

import math

import pytest
import torch
from torch import nn

from narrows.codecs import (
    FSQ,
    IBQ,
    VQ,
    AttentionProjection,
    EMACodebook,
    Grouped,
    MultiCodebook,
    MultiRateVQ,
    Projection,
    ResidualVQ,
    SplitResidualVQ,
    Strided,
)
from narrows.codecs.bottlenecks import ibq
from narrows.errors import InputError


def test_multi_codebook_compares_directions_chunk_by_chunk() -> None:
    """UniTok: each chunk takes the code of its sub-codebook with the largest cosine, and becomes that unit vector."""
    torch.manual_seed(0)
    bottleneck = MultiCodebook(12, codebooks=3, entries=20, code_dim=4).eval()
    z = torch.randn(1, 12, 30)
    quantized = bottleneck(z)
    for k, (chunk, member) in enumerate(zip(z[0].split(4), bottleneck.members, strict=True)):
        table = nn.functional.normalize(member.codebook.vectors, dim=1)
        codes = (nn.functional.normalize(chunk.T, dim=1) @ table.T).argmax(1)
        assert torch.equal(quantized.codes[0, k], codes)
        torch.testing.assert_close(quantized.latents[0, 4 * k : 4 * k + 4].T, table[codes])


def test_attention_projection_sees_all_positions_and_only_its_item() -> None:
    torch.manual_seed(0)
    projection = AttentionProjection(8, 12, heads=4).eval()
    z = torch.randn(2, 8, 3, 5)
    changed = z.clone()
    changed[1, 0, 2, 4] += 3
    moved = (projection.down(z) != projection.down(changed)).flatten(1, 2).any(-1)
    assert not moved[0].any()
    assert moved[1].all()
    assert projection.up(projection.down(z)).shape == z.shape


def test_split_branches_see_the_same_latents() -> None:
    torch.manual_seed(0)
    semantic, acoustic = VQ(6, EMACodebook(4, 16)), ResidualVQ(6, 2, 16, 4)
    bottleneck = SplitResidualVQ(semantic, acoustic).eval()
    z = torch.randn(2, 6, 10)
    codes = bottleneck.encode(z)
    assert torch.equal(codes, torch.cat([semantic.encode(z), acoustic.encode(z)], 1))
    assert torch.equal(bottleneck.decode(codes[:, :1]), semantic.decode(codes[:, :1]))
    assert torch.equal(bottleneck.decode(codes), semantic.decode(codes[:, :1]) + acoustic.decode(codes[:, 1:]))
    assert bottleneck.prefixes == (2, 3)
    assert set(bottleneck(z).losses) == {"semantic/commitment", "acoustic/commitment"}


def test_a_slow_stage_codes_means_of_steps() -> None:
    torch.manual_seed(0)
    inner = VQ(3, EMACodebook(3, 64))
    bottleneck = Strided(inner, steps=4, stride=2).eval()
    z = torch.randn(2, 12, 5)
    means = z.view(2, 3, 2, 2, 5).mean(3)  # (B, d, means, F)
    codes = bottleneck.encode(z)
    for k in range(2):
        assert torch.equal(codes[:, k : k + 1], inner.encode(means[:, :, k]))
        wanted = inner.decode(codes[:, k : k + 1])
        for step in (2 * k, 2 * k + 1):
            assert torch.equal(bottleneck.decode(codes)[:, step::4], wanted)


def test_a_stage_at_twice_the_rate_gives_twice_the_codebooks() -> None:
    bottleneck = MultiRateVQ(16, (4, 2, 1), entries=16, code_dim=2)
    assert bottleneck.prefixes == (1, 3, 7)
    assert bottleneck.codebook_sizes == (16,) * 7


def test_every_code_of_ibq_gets_a_gradient() -> None:
    torch.manual_seed(0)
    bottleneck = IBQ(4, entries=64, code_dim=4).train()
    bottleneck(torch.randn(1, 4, 5)).latents.sum().backward()
    assert bottleneck.codebook.grad is not None
    assert (bottleneck.codebook.grad.norm(dim=1) > 0).all()


def test_ibq_is_its_formula_and_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    bottleneck = IBQ(4, entries=32, code_dim=4, temperature=0.5).train()
    monkeypatch.setattr(ibq, "CHUNK", 32 * 7)  # 7 of the 40 vectors at a time
    z = torch.randn(2, 4, 20, requires_grad=True)
    weights = torch.randn(2, 4, 20)
    quantized = bottleneck(z)
    ((quantized.latents * weights).sum() + sum(quantized.losses.values())).backward()
    gradients = [z.grad, bottleneck.codebook.grad]
    z.grad = bottleneck.codebook.grad = None

    flat, book = z.movedim(1, 2).flatten(0, 1), bottleneck.codebook
    logits = flat @ book.T
    p = logits.softmax(-1)
    hard = nn.functional.one_hot(logits.argmax(-1), 32).float()
    assert torch.equal(quantized.codes.flatten(), logits.argmax(-1))
    chosen = (hard - p.detach() + p) @ book
    latents = chosen.view(2, 20, 4).movedim(2, 1)
    torch.testing.assert_close(quantized.latents, latents)
    sharp = (logits / 0.5).softmax(-1)
    entropy = -(sharp * sharp.log()).sum(-1).mean() + (sharp.mean(0) * sharp.mean(0).log()).sum()
    torch.testing.assert_close(quantized.losses["sample_entropy"] + quantized.losses["diversity"], entropy)
    mse = nn.functional.mse_loss
    losses = mse(chosen, flat) + mse(hard @ book, flat.detach()) + mse((hard @ book).detach(), flat) + entropy
    ((latents * weights).sum() + losses).backward()
    for ours, theirs in zip(gradients, [z.grad, book.grad], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Grouped(8, []),
        lambda: Grouped(8, [FSQ(4)], Projection(8, 5)),
        lambda: Strided(VQ(2), steps=4, stride=3),
        lambda: Strided(VQ(2), steps=0, stride=1),
        lambda: MultiRateVQ(8, ()),
        lambda: MultiRateVQ(8, (4, 3)),
        lambda: MultiCodebook(8, codebooks=0),
        lambda: SplitResidualVQ(VQ(4), VQ(5)),
        lambda: AttentionProjection(8, 12, heads=5),
        lambda: IBQ(8, entries=1),
        lambda: IBQ(8, temperature=math.nan),
    ],
)
def test_impossible_settings_are_refused(make: object) -> None:
    with pytest.raises(InputError, match="expected"):
        make()  # type: ignore[operator]


def test_a_partial_mean_cannot_be_decoded() -> None:
    bottleneck = Strided(FSQ(4, (3, 3), groups=2), steps=2, stride=1).eval()
    codes = bottleneck.encode(torch.randn(1, 8, 3))
    assert codes.shape == (1, 4, 3)
    assert bottleneck.decode(codes[:, :2]).shape == (1, 8, 3)
    with pytest.raises(InputError, match="a multiple of 2 codebooks"):
        bottleneck.decode(codes[:, :3])
