import pytest
import torch
from torch import Tensor, nn

from narrows.codecs import AttentionProjection
from narrows.errors import InputError


def test_attention_projection_depends_on_all_positions_of_its_item_only() -> None:
    torch.manual_seed(0)
    projection = AttentionProjection(8, 12, heads=4).eval()
    z = torch.randn(2, 8, 3, 5)
    changed = z.clone()
    changed[1, 0, 2, 4] += 3
    moved = (projection.down(z) != projection.down(changed)).flatten(1, 2).any(-1)
    assert not moved[0].any()
    assert moved[1].all()
    assert projection.up(projection.down(z)).shape == z.shape


def test_parameter_counts_are_those_of_unitok() -> None:
    """UniTok's projections between 1024 and 64 channels, with 16 heads."""
    with torch.device("meta"):
        projection = AttentionProjection(1024, 64, 16)
    counts = [sum(p.numel() for p in block.parameters()) for block in (projection.down_block, projection.up_block)]
    assert counts == [3_246_784, 7_615_744]


def restated(block: nn.Module, x: Tensor, heads: int) -> Tensor:
    """UniTok's projection in plain matrix products, with the weights of a block."""
    w = dict(block.named_parameters())
    width, out = x.shape[2], len(w["direct.bias"])
    inner = max(width, out)
    size = inner // heads

    def norm(name: str, v: Tensor, eps: float = 1e-5) -> Tensor:
        centred = v - v.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    qkv = norm("norm_attention", x) @ w["attention.attend.weight"].T
    q, k, v = qkv[..., :inner], qkv[..., inner : 2 * inner], qkv[..., 2 * inner :]
    q, v = q + w["attention.query_bias"], v + w["attention.value_bias"]
    results = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        p = (q[..., part] @ k[..., part].mT / size**0.5).softmax(-1)  # every position sees all others
        results.append(p @ v[..., part])
    attended = sum(results) / heads if width > out else torch.cat(results, -1)
    if width > out and size != out:
        attended = nn.functional.adaptive_avg_pool1d(attended, out)  # type: ignore[arg-type]
    y = norm("norm_direct", x) @ w["direct.weight"].T + w["direct.bias"]
    y = y + attended @ w["attention.merge.weight"].T + w["attention.merge.bias"]
    hidden = norm("gated.norm", norm("norm_gated", y), 1e-6)
    gate, value = (hidden @ w[f"gated.{name}.weight"].T + w[f"gated.{name}.bias"] for name in ("gate", "value"))
    gate = gate / 2 * (1 + ((2 / torch.pi) ** 0.5 * (gate + 0.044715 * gate**3)).tanh())
    return y + (gate * value) @ w["gated.shrink.weight"].T + w["gated.shrink.bias"]


@pytest.mark.parametrize(("dim", "inner", "heads"), [(32, 8, 4), (32, 8, 2), (8, 8, 2), (8, 24, 3)])
def test_it_is_the_projection_of_unitok(dim: int, inner: int, heads: int) -> None:
    torch.manual_seed(0)
    projection = AttentionProjection(dim, inner, heads)
    for parameter in projection.parameters():
        nn.init.normal_(parameter, std=0.3)
    z, vectors = torch.randn(2, dim, 3, 4), torch.randn(2, 3, 4, inner)
    down = restated(projection.down_block, z.flatten(2).mT, heads)
    torch.testing.assert_close(projection.down(z).flatten(1, 2), down, atol=1e-4, rtol=1e-4)
    up = restated(projection.up_block, vectors.flatten(1, 2), heads)
    torch.testing.assert_close(projection.up(vectors).flatten(2).mT, up, atol=1e-4, rtol=1e-4)


def test_invalid_arguments_raise() -> None:
    with pytest.raises(InputError, match="expected heads to divide the larger of"):
        AttentionProjection(8, 12, heads=5)
