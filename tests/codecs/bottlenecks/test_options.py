"""Every constructor argument of bottlenecks, codebooks, estimators, projections and roundings changes something."""

import copy
import inspect
from typing import Any

import pytest
import torch
from torch import nn

from narrows.codecs import (
    FSQ,
    VQ,
    AttentionProjection,
    Bottleneck,
    Codebook,
    EMACodebook,
    Estimator,
    LatentDecoder,
    LatentEncoder,
    LearnedCodebook,
    Projection,
    ResidualVQ,
    Rounding,
    StraightThrough,
    Tanh,
)
from narrows.codecs.bottlenecks.entropy.base import EntropyModel
from narrows.parts import find, names

Options = dict[str, Any]


def latents(part: type[LatentEncoder] | type[LatentDecoder], width: int = 8) -> LatentEncoder | LatentDecoder:
    torch.manual_seed(0)
    return part(4, 4, width, 1)


def vq(seed: int, entries: int = 8) -> VQ:
    torch.manual_seed(seed)
    return VQ(4, EMACodebook(4, entries))


def attention() -> AttentionProjection:
    torch.manual_seed(0)
    return AttentionProjection(8, 8, 2)


# For each part: the arguments to start from, and another value of every argument.
CASES: dict[str, tuple[Options, Options]] = {
    "ard": (
        {"dim": 8, "channels": 4, "rounding": Rounding(0.25)},
        {"dim": 6, "channels": 3, "rounding": Rounding(0.5), "decay": 0.5, "dropout": 0.5},
    ),
    "attention-projection": ({"dim": 8, "inner": 8, "heads": 2}, {"dim": 4, "inner": 4, "heads": 4}),
    "bsq": ({"dim": 8, "bits": 4}, {"dim": 6, "bits": 3, "groups": 2, "temperature": 0.5}),
    "channel-fsq": ({"levels": (5, 4), "groups": 2}, {"levels": (5, 3), "groups": 3}),
    "direction-codebook": (
        {"dim": 4, "entries": 8, "decay": 0.5},
        {"dim": 3, "entries": 9, "decay": 0.9, "kmeans_steps": 0, "dead_code_threshold": 0.9},
    ),
    "dithered-fsq": (
        {"dim": 8, "levels": (5, 5), "groups": 2},
        {"dim": 6, "levels": (5, 3), "groups": 1, "dropout": 0.9, "noise": 0.0},
    ),
    "ema-codebook": (
        {"dim": 4, "entries": 8, "decay": 0.5},
        {"dim": 3, "entries": 9, "decay": 0.9, "cosine": True, "kmeans_steps": 0, "dead_code_threshold": 0.9},
    ),
    "factorized-prior": ({"dim": 4}, {"dim": 6}),
    "fsq": (
        {"dim": 8, "levels": (5, 4), "groups": 2},
        {"dim": 6, "levels": (5, 3), "groups": 1, "dropout": 0.9, "gray": True},
    ),
    "gaussian": ({"dim": 8, "channels": 4}, {"dim": 6, "channels": 3, "rounding": Rounding(0.5), "dropout": 0.5}),
    "grouped": (
        {"dim": 8, "members": [vq(0), vq(1)]},
        {"dim": 6, "members": [vq(0), vq(1, 9)], "projection": attention()},
    ),
    "grouped-residual-vq": (
        {"dim": 8, "stages": 2, "entries": 8, "code_dim": 2},
        {"dim": 12, "groups": 4, "stages": 3, "entries": 9, "code_dim": 3, "dropout": 0.0},
    ),
    "ibq": (
        {"dim": 8, "entries": 16, "code_dim": 4},
        {"dim": 6, "entries": 9, "code_dim": 3, "temperature": 0.5},
    ),
    "identity": ({"dim": 8}, {"dim": 6}),
    "key-codebooks": (
        {"dim": 8, "codebooks": 2, "entries": 8, "key_dim": 3},
        {"dim": 6, "codebooks": 3, "entries": 9, "key_dim": 4},
    ),
    "learned-codebook": (
        {"dim": 4, "entries": 8, "decay": 0.5},
        {"dim": 3, "entries": 9, "decay": 0.9, "cosine": True, "kmeans_steps": 0, "dead_code_threshold": 0.9},
    ),
    "lfq": ({"dim": 8, "bits": 4}, {"dim": 6, "bits": 3, "groups": 2, "temperature": 0.5}),
    "mean-scale-hyperprior": ({"dim": 8, "hyper_dim": 16}, {"dim": 6, "hyper_dim": 32}),
    "multi-codebook": (
        {"dim": 8, "codebooks": 2, "entries": 8, "code_dim": 4},
        {"dim": 6, "codebooks": 4, "entries": 9, "code_dim": 2, "projection": attention()},
    ),
    "multi-rate-vq": (
        {"dim": 8, "strides": (2, 1), "entries": 8, "code_dim": 4},
        {"dim": 6, "strides": (4, 1), "entries": 9, "code_dim": 3, "dropout": 0.0},
    ),
    "nested": ({"outer": Tanh(4, 4), "inner": vq(0)}, {"outer": Tanh(4, 3), "inner": vq(0, 9), "frozen": True}),
    "ordered": ({"blocks": [vq(0), vq(1)]}, {"blocks": [vq(0), vq(1, 9)], "dropout": 0.0}),
    "plain-fsq": ({"levels": (5, 3)}, {"levels": (5, 7), "scale": 0.5}),
    "projection": ({"dim": 8, "inner": 4}, {"dim": 6, "inner": 3}),
    "re-bottleneck": (
        {"inner_encoder": latents(LatentEncoder), "bottleneck": vq(0), "inner_decoder": latents(LatentDecoder)},
        {
            "inner_encoder": latents(LatentEncoder, 6),
            "bottleneck": vq(0, 9),
            "inner_decoder": latents(LatentDecoder, 6),
            "quality_index": 3,
        },
    ),
    "random-projection": ({"dim": 8, "inner": 4}, {"dim": 6, "inner": 3}),
    "residual": (
        {"dim": 4, "stages": [vq(0), vq(1)]},
        {"dim": 6, "stages": [vq(0), vq(1, 9)], "dropout": 0.0},
    ),
    "residual-fsq": (
        {"dim": 8, "levels": (5, 5), "stages": 2},
        {"dim": 6, "levels": (5, 3), "stages": 3, "dropout": 0.0},
    ),
    "residual-vq": (
        {"dim": 8, "codebooks": 2, "entries": 8, "code_dim": 4},
        {"dim": 6, "codebooks": 3, "entries": 9, "code_dim": 3, "dropout": 0.0, "decay": 0.5},
    ),
    "rotation-trick": ({}, {"max_ratio": 1.01}),
    "rounding": ({}, {"step": 0.5, "limit": 1.0}),
    "scale-hyperprior": ({"dim": 8, "hyper_dim": 16}, {"dim": 6, "hyper_dim": 32}),
    "sim-codebook": ({"dim": 4, "entries": 8}, {"dim": 3, "entries": 9}),
    "soft-norm": (
        {"dim": 8, "channels": 4},
        {"dim": 6, "channels": 3, "noise": 0.5, "rounding": Rounding(0.5), "dropout": 0.5},
    ),
    "space-channel-context": (
        {"groups": (4, 4), "phased": 1, "widths": (8, 8)},
        {"groups": (4, 6), "phased": 2, "widths": (8, 6)},
    ),
    "space-time-context": (
        {"groups": (4, 4), "phased": 1, "widths": (8, 8), "memory": 8},
        {"groups": (4, 6), "phased": 2, "widths": (8, 6), "memory": 6},
    ),
    "split-gaussian": ({"channels": 4}, {"channels": 3}),
    "split-residual-vq": (
        {"semantic": vq(0), "acoustic": ResidualVQ(4, 2, 8, 4)},
        {"semantic": vq(0, 9), "acoustic": ResidualVQ(4, 3, 8, 4)},
    ),
    "straight-through": ({}, {}),
    "strided": ({"bottleneck": vq(0)}, {"bottleneck": vq(0, 9), "steps": 2, "stride": 4}),
    "tanh": ({"dim": 8, "channels": 4}, {"dim": 6, "channels": 3, "rounding": Rounding(0.5), "dropout": 0.5}),
    "twice-bounded-fsq": (
        {"dim": 8, "levels": (5, 4), "groups": 2},
        {"dim": 6, "levels": (5, 3), "groups": 1, "dropout": 0.9, "gray": True},
    ),
    "vector-quantize-pytorch": (
        {"dim": 8, "options": (("codebook_size", 8),)},
        {"dim": 6, "quantizer": "ResidualVQ", "options": (("codebook_size", 9),)},
    ),
    "vq": (
        {"dim": 4, "codebook": EMACodebook(4, 8), "estimator": StraightThrough()},
        {"dim": 6, "codebook": LearnedCodebook(4, 8), "estimator": None},
    ),
}
# Arguments that must change together with another one.
FITTING: dict[tuple[str, str], Options] = {
    ("vector-quantize-pytorch", "quantizer"): {"options": (("num_quantizers", 1), ("codebook_size", 8))},
    ("grouped", "dim"): {"members": [FSQ(3, (4,)), FSQ(3, (5,))]},
    ("residual", "dim"): {"stages": [FSQ(6, (5,)), FSQ(6, (5,))]},
}
KINDS = ("bottleneck", "codebook", "estimator", "projection", "rounding")


def test_every_part_and_argument_is_here() -> None:
    assert sorted(CASES) == sorted(name for kind in KINDS for name in names(kind))
    for name, (base, other) in CASES.items():
        assert set(other) == set(inspect.signature(find(name)).parameters), name
        assert set(base) <= set(other), name
        assert all(repr(base[key]) != repr(other[key]) or base[key] is not other[key] for key in base), name


def facts(name: str, options: Options) -> tuple[object, ...]:
    """Shapes of the weights, and what training and inference compute from fixed latents."""
    torch.manual_seed(0)
    part = find(name)(**{key: copy.deepcopy(value) for key, value in options.items()})
    state: object = ()
    if isinstance(part, nn.Module):
        state = tuple((key, tuple(value.shape)) for key, value in part.state_dict().items())
    return repr(part) if isinstance(part, Estimator) else "", state, *_results(part)


def _results(part: object) -> list[object]:
    torch.manual_seed(1)
    if isinstance(part, Rounding):
        y = torch.linspace(-3, 3, 100)
        return [part.codes(y).tolist(), part.noisy(y).tolist()]
    if isinstance(part, Estimator):
        vectors = torch.randn(50, 4, requires_grad=True)
        part(vectors, vectors.detach() + torch.randn(50, 4)).square().sum().backward()
        assert vectors.grad is not None
        return [vectors.grad.tolist()]
    if isinstance(part, Codebook):
        return [_trained_codebook(part)]
    if isinstance(part, Projection | AttentionProjection):
        return [part.up(part.down(torch.randn(1, part.dim, 4))).tolist()]
    assert isinstance(part, Bottleneck)
    return _trained_bottleneck(part)


def _trained_codebook(codebook: Codebook) -> object:
    quantizer = VQ(codebook.dim, codebook).train()
    for _ in range(4):
        quantizer(torch.randn(2, codebook.dim, 64).exp())  # skewed, so that codes differ in their usage
    return codebook.table().tolist(), [value.tolist() for value in codebook.buffers()]


def _trained_bottleneck(bottleneck: Bottleneck) -> list[object]:
    """Losses and gradients of 6 training steps, then latents."""
    grid: tuple[int, ...] = (16,)
    if isinstance(bottleneck, EntropyModel):
        grid = (8, 8) if bottleneck.axes == 2 else (2, 8, 8)
    found: list[object] = [bottleneck.codebook_sizes, bottleneck.prefixes, getattr(bottleneck, "quality_index", None)]
    bottleneck.train()
    for _ in range(6):
        z = torch.randn(4, bottleneck.dim, *grid).exp().requires_grad_()
        quantized = bottleneck(z)
        loss = quantized.latents.square().sum() + quantized.bits.sum()
        for value in quantized.losses.values():
            loss = loss + value
        loss.backward()
        found.append((float(loss.detach()), None if z.grad is None else float(z.grad.abs().sum())))
        found.append([parameter.grad is None for parameter in bottleneck.parameters()])
    with torch.no_grad():
        quantized = bottleneck.eval()(torch.randn(2, bottleneck.dim, *grid).exp())
    return [*found, quantized.codes, quantized.latents.double().sum()]


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_argument_changes_something(name: str) -> None:
    base, other = CASES[name]
    before = facts(name, base)
    assert repr(facts(name, base)) == repr(before)  # the procedure itself is deterministic
    for option, value in other.items():
        assert repr(facts(name, base | FITTING.get((name, option), {}) | {option: value})) != repr(before), option
