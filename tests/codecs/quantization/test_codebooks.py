import pytest
import torch
import vector_quantize_pytorch as reference
from torch import Tensor

from narrows.codecs import VQ, EMACodebook, LearnedCodebook, RotationTrick, SimCodebook, StraightThrough
from narrows.codecs.quantization.kmeans import kmeans, sum_by_code
from narrows.errors import InputError


def clusters(count: int, centres: Tensor, spread: float = 0.05) -> Tensor:
    """(1, d, count) around some of the centres (V, d)."""
    return (centres[torch.randint(len(centres), (count,))] + spread * torch.randn(count, centres.shape[1])).T[None]


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("rotation", [False, True])
def test_ema_parity_with_vector_quantize_pytorch(cosine: bool, rotation: bool) -> None:
    """Codes, latents, loss, gradient and the codebook after three steps, its settings being use_cosine_sim, decay 0.9
    and rotation_trick as here, threshold_ema_dead_code 0, commitment_weight 1."""
    torch.manual_seed(0)
    ours = VQ(
        6,
        EMACodebook(6, 32, 0.9, cosine, dead_code_threshold=0.0),
        RotationTrick(1e6) if rotation else StraightThrough(),
    )
    theirs = reference.VectorQuantize(6, 32, decay=0.9, use_cosine_sim=cosine, rotation_trick=rotation)
    codebook = ours.codebook
    assert isinstance(codebook, EMACodebook)
    codebook.initialized.fill_(True)
    theirs.codebook = codebook.vectors.clone()
    theirs._codebook.embed_avg.copy_(codebook.vectors)
    for _ in range(3):
        a = torch.randn(2, 6, 300).requires_grad_()
        b = a.detach().movedim(1, 2).requires_grad_()
        mine, (latents, codes, loss) = ours(a), theirs(b)
        assert torch.equal(mine.codes[:, 0], codes)
        torch.testing.assert_close(mine.latents.movedim(1, 2), latents, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(mine.losses["commitment"], loss.squeeze())
        weights = torch.randn_like(latents)
        ((mine.latents.movedim(1, 2) * weights).sum() + mine.losses["commitment"]).backward()
        ((latents * weights).sum() + loss).backward()
        torch.testing.assert_close(a.grad.movedim(1, 2), b.grad, atol=1e-5, rtol=1e-5)  # type: ignore[union-attr]
        torch.testing.assert_close(codebook.table(), theirs.codebook, atol=1e-4, rtol=1e-4)
    assert torch.equal(ours.eval()(a).codes[:, 0], theirs.eval()(b)[1])


def test_learned_parity_with_vector_quantize_pytorch() -> None:
    """Settings: learnable_codebook, ema_update off, rotation_trick off; its one weight stands before both losses."""
    torch.manual_seed(0)
    ours = VQ(6, LearnedCodebook(6, 32, dead_code_threshold=0.0), StraightThrough())
    theirs = reference.VectorQuantize(6, 32, learnable_codebook=True, ema_update=False, rotation_trick=False)
    codebook = ours.codebook
    assert isinstance(codebook, LearnedCodebook)
    codebook.initialized.fill_(True)
    theirs._codebook.embed.data.copy_(codebook.vectors.detach()[None])
    z = torch.randn(2, 6, 300)
    mine, (latents, codes, loss) = ours(z), theirs(z.movedim(1, 2))
    assert torch.equal(mine.codes[:, 0], codes)
    torch.testing.assert_close(mine.latents.movedim(1, 2), latents)
    torch.testing.assert_close(mine.losses["commitment"], loss.squeeze())
    (mine.losses["codebook"] + mine.losses["commitment"]).backward()
    loss.backward()
    torch.testing.assert_close(codebook.vectors.grad, theirs._codebook.embed.grad[0])


@pytest.mark.parametrize("rotation", [False, True])
def test_sim_parity_with_vector_quantize_pytorch(rotation: bool) -> None:
    """Settings: rotation_trick as here, input_to_quantize_commit_loss_weight 0.25; its map has no bias."""
    torch.manual_seed(0)
    ours = VQ(6, SimCodebook(6, 32), RotationTrick(1e6) if rotation else StraightThrough())
    theirs = reference.SimVQ(6, 32, rotation_trick=rotation)
    codebook = ours.codebook
    assert isinstance(codebook, SimCodebook)
    torch.nn.init.zeros_(codebook.map.bias)
    theirs.frozen_codebook.copy_(codebook.fixed)
    theirs.code_transform.load_state_dict({"weight": codebook.map.weight})
    a = torch.randn(2, 6, 300).requires_grad_()
    b = a.detach().movedim(1, 2).requires_grad_()
    mine, (latents, codes, loss) = ours(a), theirs(b)
    assert torch.equal(mine.codes[:, 0], codes)
    torch.testing.assert_close(mine.latents.movedim(1, 2), latents, atol=1e-5, rtol=1e-5)
    both = mine.losses["codebook"] + 0.25 * mine.losses["commitment"]
    torch.testing.assert_close(both, loss)
    (mine.latents.square().sum() + both).backward()
    (latents.square().sum() + loss).backward()
    torch.testing.assert_close(a.grad.movedim(1, 2), b.grad, atol=1e-4, rtol=1e-4)  # type: ignore[union-attr]
    torch.testing.assert_close(codebook.map.weight.grad, theirs.code_transform.weight.grad)


def test_kmeans_finds_the_clusters() -> None:
    torch.manual_seed(0)
    centres = 10 * torch.randn(8, 3)
    vectors = clusters(4000, centres, 0.1)[0].T
    codebook = kmeans(vectors, 64, 10)
    assert torch.cdist(centres, codebook).amin(1).max() < 0.3
    few = kmeans(vectors[:5], 8, 3)
    assert torch.cdist(few, vectors[:5]).amin(1).max() < 1e-6


def test_sum_by_code() -> None:
    vectors, codes = torch.randn(100, 3), torch.randint(7, (100,))
    sums, counts = sum_by_code(vectors, codes, 9)
    hot = torch.nn.functional.one_hot(codes, 9).float()
    torch.testing.assert_close(sums, hot.T @ vectors)
    assert torch.equal(counts, hot.sum(0))


@pytest.mark.parametrize("cosine", [False, True])
def test_the_first_batch_initialises_the_codebook(cosine: bool) -> None:
    torch.manual_seed(0)
    z = clusters(2000, 20 + 10 * torch.randn(16, 4))
    for kmeans_steps in (0, 10):
        bottleneck = VQ(4, EMACodebook(4, 64, cosine=cosine, kmeans_steps=kmeans_steps)).train()
        placed = bottleneck.codebook.normalize(z.movedim(1, -1))
        assert bottleneck(z).losses["commitment"] < 0.01 * placed.var(dim=1).mean()


@pytest.mark.parametrize("codebook", [EMACodebook(4, 32, 0.8), LearnedCodebook(4, 32, 0.8)])
def test_dead_codes_are_replaced(codebook: EMACodebook | LearnedCodebook) -> None:
    """After the data moves away from the codes, most of them are in use again."""
    torch.manual_seed(0)
    bottleneck = VQ(4, codebook, StraightThrough()).train()
    far = VQ(4, type(codebook)(4, 32, 0.8, dead_code_threshold=0.0), StraightThrough()).train()
    for one in (bottleneck, far):
        one(torch.randn(1, 4, 400))
        for _ in range(30):
            used = one(5 + torch.randn(1, 4, 400)).metrics["usage"]
        assert (used > 0.9) == (one is bottleneck)


def test_ema_tracks_the_data() -> None:
    torch.manual_seed(0)
    bottleneck = VQ(4, EMACodebook(4, 16, decay=0.9)).train()
    centres = torch.randn(16, 4)
    first = bottleneck(clusters(500, centres)).losses["commitment"]
    for _ in range(40):
        last = bottleneck(clusters(500, centres + 0.5)).losses["commitment"]
    assert last < 2 * first + 0.01


def test_codes_get_gradients_from_the_codebook_loss_only() -> None:
    torch.manual_seed(0)
    for codebook in (LearnedCodebook(4, 16), SimCodebook(4, 16)):
        bottleneck = VQ(4, codebook).train()
        quantized = bottleneck(torch.randn(2, 4, 50, requires_grad=True))
        (quantized.latents.sum() + quantized.losses["commitment"]).backward()
        assert all(p.grad is None for p in codebook.parameters())
        bottleneck(torch.randn(2, 4, 50)).losses["codebook"].backward()
        assert all(p.grad is not None for p in codebook.parameters())
    assert "codebook" not in VQ(4, EMACodebook(4, 16)).train()(torch.randn(2, 4, 50)).losses


@pytest.mark.parametrize(
    "arguments",
    [{"dim": 0}, {"entries": 1}, {"decay": 2.0}, {"kmeans_steps": -1}, {"dead_code_threshold": -0.1}, {"cosine": 1}],
)
def test_invalid_codebooks_raise(arguments: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(arguments))):
        EMACodebook(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("arguments", [{"codebook": StraightThrough()}, {"estimator": EMACodebook()}, {"dim": 0}])
def test_invalid_vq_arguments_raise(arguments: dict[str, object]) -> None:
    with pytest.raises(InputError):
        VQ(**arguments)  # type: ignore[arg-type]


def test_unused_codes_do_not_move_without_replacement() -> None:
    torch.manual_seed(0)
    bottleneck = VQ(2, EMACodebook(2, 8, decay=0.9, dead_code_threshold=0.0)).train()
    for _ in range(300):
        bottleneck(5 + 0.01 * torch.randn(1, 2, 20))
    assert (bottleneck.codebook.table().norm(dim=1) > 1).all()
