"""Tests of all bottlenecks."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import torch

from narrows.codecs import (
    ARD,
    BSQ,
    FSQ,
    IBQ,
    LFQ,
    VQ,
    AttentionProjection,
    Bottleneck,
    DitheredFSQ,
    EMACodebook,
    Gaussian,
    Grouped,
    GroupedResidualVQ,
    KeyCodebooks,
    LearnedCodebook,
    MultiCodebook,
    MultiRateVQ,
    Nested,
    Ordered,
    PlainFSQ,
    Residual,
    ResidualFSQ,
    ResidualVQ,
    Rounding,
    SimCodebook,
    SoftNorm,
    SplitResidualVQ,
    StraightThrough,
    Strided,
    Tanh,
    TwiceBoundedFSQ,
    VectorQuantizePytorch,
)
from narrows.errors import InputError
from narrows.parts import build, spec

MAKERS: dict[str, Callable[[], Bottleneck]] = {
    "fsq": lambda: FSQ(6, (8, 5, 3), groups=3, dropout=0.5),
    "fsq-odd": lambda: FSQ(6, (3, 5), groups=1),
    "fsq-gray": lambda: FSQ(6, (8, 4, 6), groups=2, gray=True),
    "twice-bounded-fsq": lambda: TwiceBoundedFSQ(6, (4, 4, 5)),
    "plain-fsq": lambda: PlainFSQ((3, 5, 3, 3, 7, 3)),
    "dithered-fsq": lambda: DitheredFSQ(6, (17, 4), groups=2, dropout=0.5),
    "residual-fsq": lambda: ResidualFSQ(6, (5, 4, 3), stages=3),
    "lfq": lambda: LFQ(6, bits=7, groups=2, temperature=1.0),
    "lfq-wide": lambda: LFQ(6, bits=40),
    "bsq": lambda: BSQ(6, bits=9, groups=2, temperature=1.0),
    "tanh": lambda: Tanh(6, 4, Rounding(0.125, 1.0)),
    "soft-norm": lambda: SoftNorm(6, 4, rounding=Rounding(0.25, 3.0)),
    "gaussian": lambda: Gaussian(6, 3, Rounding(0.5, 4.0)),
    "ard": lambda: ARD(6, 5, Rounding(0.25, 4.0)),
    "ordered": lambda: Ordered([FSQ(6, (5, 3)), LFQ(6, 5), Gaussian(6, 2, Rounding())]),
    "ordered-residual": lambda: Ordered([ResidualVQ(6, 2, entries=16, code_dim=4), FSQ(6, (4, 4), 2, dropout=0.5)]),
    "nested": lambda: Nested(Gaussian(6, 4), FSQ(6, (8, 5), groups=2)),
    "gaussian-ordered": lambda: Gaussian(6, 3, Rounding(0.5, 4.0), dropout=0.5),
    "residual-vq": lambda: ResidualVQ(6, codebooks=3, entries=32, code_dim=4, dropout=0.5),
    "residual-vq-whole": lambda: ResidualVQ(6, codebooks=2, entries=16, code_dim=6, dropout=0.0),
    "vq": lambda: VQ(6, EMACodebook(4, 40)),
    "vq-cosine": lambda: VQ(6, EMACodebook(6, 32, cosine=True), StraightThrough()),
    "vq-learned": lambda: VQ(6, LearnedCodebook(4, 32)),
    "vq-learned-cosine": lambda: VQ(6, LearnedCodebook(4, 32, cosine=True)),
    "vq-sim": lambda: VQ(6, SimCodebook(4, 32)),
    "ibq": lambda: IBQ(6, 32, code_dim=4),
    "grouped": lambda: Grouped(6, [VQ(2, EMACodebook(2, 16)), FSQ(4, (3, 5))]),
    "multi-codebook": lambda: MultiCodebook(6, 3, 16, code_dim=4),
    "multi-codebook-attention": lambda: MultiCodebook(6, 3, 16, 4, AttentionProjection(6, 12, heads=2)),
    "key-codebooks": lambda: KeyCodebooks(6, 3, 16, key_dim=4),
    "residual-mixed": lambda: Residual(6, [FSQ(6, (5, 5)), ResidualVQ(6, 2, 16, 4), VQ(6, EMACodebook(3, 16))]),
    "grouped-residual-vq": lambda: GroupedResidualVQ(6, groups=2, stages=2, entries=16, code_dim=3),
    "split-residual-vq": lambda: SplitResidualVQ(VQ(6, EMACodebook(4, 16)), ResidualVQ(6, 2, 16, 4)),
    "strided": lambda: Strided(VQ(3, EMACodebook(3, 16)), steps=2, stride=1),
    "multi-rate-vq": lambda: MultiRateVQ(6, (4, 2, 1), entries=16, code_dim=3),
}
PACKAGE = {  # of vector-quantize-pytorch
    "vq": ("VectorQuantize", {"codebook_size": 16}),
    "vq-cosine": (
        "VectorQuantize",
        {"codebook_size": 16, "use_cosine_sim": True, "kmeans_init": True},
    ),
    "vq-heads": (
        "VectorQuantize",
        {"codebook_size": 16, "heads": 2, "separate_codebook_per_head": True},
    ),
    "residual-vq": (
        "ResidualVQ",
        {"num_quantizers": 3, "codebook_size": 16, "quantize_dropout": True},
    ),
    "residual-vq-sizes": ("ResidualVQ", {"codebook_size": (16, 8)}),
    "grouped-residual-vq": ("GroupedResidualVQ", {"groups": 2, "num_quantizers": 2, "codebook_size": 16}),
    "sim-vq": ("SimVQ", {"codebook_size": 16}),
    "residual-sim-vq": ("ResidualSimVQ", {"num_quantizers": 2, "codebook_size": 16, "quantize_dropout": True}),
    "fsq": ("FSQ", {"levels": (8, 5, 3), "num_codebooks": 2}),
    "residual-fsq": ("ResidualFSQ", {"levels": (5, 3), "num_quantizers": 3, "quantize_dropout": True}),
    "grouped-residual-fsq": ("GroupedResidualFSQ", {"groups": 2, "levels": (5, 4), "num_quantizers": 2}),
    "lfq": ("LFQ", {"codebook_size": 16, "commitment_loss_weight": 1.0}),
    "residual-lfq": ("ResidualLFQ", {"num_quantizers": 2, "codebook_size": 16, "soft_clamp_input_value": 2.0}),
    "latent": ("LatentQuantize", {"levels": (5, 4, 7)}),
    "binary-mapper": ("BinaryMapper", {"bits": 4}),
}
for _name, (_quantizer, _options) in PACKAGE.items():
    MAKERS[f"package-{_name}"] = partial(VectorQuantizePytorch, 6, _quantizer, tuple(_options.items()))
GRIDS = [(7,), (1,), (3, 4), (2, 3, 4)]


@pytest.fixture(params=MAKERS)
def bottleneck(request: pytest.FixtureRequest) -> Bottleneck:
    torch.manual_seed(0)
    return MAKERS[request.param]()


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_decode_of_encode_is_forward(
    bottleneck: Bottleneck, grid: tuple[int, ...], batch: int, dtype: torch.dtype
) -> None:
    bottleneck.eval()
    z = torch.randn(batch, bottleneck.dim, *grid).to(dtype)
    quantized, codes = bottleneck(z), bottleneck.encode(z)
    assert codes.shape == (batch, len(bottleneck.codebook_sizes), *grid)
    assert torch.equal(quantized.codes, codes)
    assert quantized.latents.shape == z.shape
    assert torch.equal(bottleneck.decode(codes).to(dtype), quantized.latents)


@pytest.mark.parametrize("grid", GRIDS)
def test_codes_do_not_depend_on_the_batch(bottleneck: Bottleneck, grid: tuple[int, ...]) -> None:
    bottleneck.eval()
    z = torch.randn(4, bottleneck.dim, *grid)
    assert torch.equal(bottleneck.encode(z), torch.cat([bottleneck.encode(item[None]) for item in z]))


def test_gradients_reach_the_encoder_in_training_and_eval_mode(bottleneck: Bottleneck) -> None:
    for mode in (True, False):
        z = torch.randn(2, bottleneck.dim, 9, requires_grad=True)
        bottleneck.train(mode)(z).latents.square().sum().backward()
        assert z.grad is not None
        assert z.grad.abs().sum() > 0


def test_spec_and_weights_make_the_same_bottleneck(bottleneck: Bottleneck) -> None:
    bottleneck.train()(torch.randn(4, bottleneck.dim, 50))
    again = build(spec(bottleneck))
    again.load_state_dict(bottleneck.state_dict())
    z = torch.randn(2, bottleneck.dim, 5)
    assert torch.equal(again.eval().encode(z), bottleneck.eval().encode(z))


def test_eval_mode_changes_no_state_and_uses_no_randomness(bottleneck: Bottleneck) -> None:
    bottleneck.eval()
    before = {name: value.clone() for name, value in bottleneck.state_dict().items()}
    state = torch.random.get_rng_state()
    bottleneck(torch.randn(4, bottleneck.dim, 50, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in bottleneck.state_dict().items())


def test_nominal_bits_are_log2_of_the_codebook_sizes(bottleneck: Bottleneck) -> None:
    bits = bottleneck.eval()(torch.randn(2, bottleneck.dim, 3, 4)).bits
    wanted = 12 * sum(math.log2(size) for size in bottleneck.codebook_sizes)
    assert bits.tolist() == pytest.approx([wanted, wanted])
    assert bottleneck.bits_per_position * 12 == pytest.approx(wanted)


def test_products_of_radices_are_the_codebook_sizes(bottleneck: Bottleneck) -> None:
    assert tuple(math.prod(digits) for digits in bottleneck.radices) == bottleneck.codebook_sizes


def test_prefixes_decode(bottleneck: Bottleneck) -> None:
    codes = bottleneck.eval().encode(torch.randn(1, bottleneck.dim, 4))
    decoded = [bottleneck.decode(codes[:, :k]) for k in bottleneck.prefixes]
    assert bottleneck.prefixes[-1] == len(bottleneck.codebook_sizes)
    assert all(not torch.equal(a, b) for a, b in pairwise(decoded))


def test_autocast_changes_no_codes(bottleneck: Bottleneck) -> None:
    bottleneck.eval()
    z = torch.randn(2, bottleneck.dim, 50)
    codes, latents = bottleneck.encode(z), bottleneck(z).latents
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(bottleneck.encode(z), codes)
        assert torch.equal(bottleneck(z).latents, latents)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("trained", [False, True])
def test_latents_that_are_not_finite_get_codes_in_range_and_change_no_ema(
    bottleneck: Bottleneck, bad: float, trained: bool
) -> None:
    if trained:
        bottleneck.train()(torch.randn(4, bottleneck.dim, 50))
    z = torch.zeros(2, bottleneck.dim, 4)
    z[1, 2, 3] = bad
    bottleneck.train()(z)
    bottleneck.check_codes(bottleneck.eval().encode(z))
    assert all(value.isfinite().all() for value in bottleneck.state_dict().values())


def test_metrics_are_detached_scalars(bottleneck: Bottleneck) -> None:
    quantized = bottleneck.train()(torch.randn(2, bottleneck.dim, 9, requires_grad=True))
    for value in quantized.metrics.values():
        assert value.shape == ()
        assert not value.requires_grad
    for value in quantized.losses.values():
        assert value.shape == ()


@pytest.mark.parametrize("shape", [(1, 5, 4), (1, 6), (1, 6, 0), (0, 6, 4)])
def test_wrong_latents_raise(bottleneck: Bottleneck, shape: tuple[int, ...]) -> None:
    for call in (bottleneck, bottleneck.encode):
        with pytest.raises(InputError, match="latents of shape"):
            call(torch.zeros(shape))


def test_wrong_codes_raise(bottleneck: Bottleneck) -> None:
    size, codebooks = bottleneck.codebook_sizes[0], len(bottleneck.codebook_sizes)
    bottleneck.check_codes(torch.full((1, codebooks, 4), min(bottleneck.codebook_sizes) - 1))
    for bad in (-1, size):
        codes = torch.zeros(1, codebooks, 4, dtype=torch.int64)
        codes[0, 0, 2] = bad
        with pytest.raises(InputError, match=f"expected codes 0 to {size - 1} in codebook 0, got {min(bad, 0)} to"):
            bottleneck.check_codes(codes)
    for shape, dtype in (((1, codebooks, 4), "f"), ((1, codebooks + 1, 4), "i"), ((1, codebooks, 0), "i")):
        codes = torch.zeros(shape, dtype=torch.float32 if dtype == "f" else torch.int64)
        for call in (bottleneck.decode, bottleneck.check_codes):
            with pytest.raises(InputError, match="codes of shape"):
                call(codes)


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.bool])
def test_latents_of_other_types_raise(bottleneck: Bottleneck, dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match="floating-point"):
        bottleneck.eval()(torch.ones(1, bottleneck.dim, 3).to(dtype))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_codes_of_all_integer_types_decode_the_same(bottleneck: Bottleneck, dtype: torch.dtype) -> None:
    bottleneck.eval()
    codes = bottleneck.encode(torch.randn(2, bottleneck.dim, 5)) % min(127, *bottleneck.codebook_sizes)
    assert torch.equal(bottleneck.decode(codes.to(dtype)), bottleneck.decode(codes))
    for other in (codes.bool(), codes.float(), codes.to(torch.complex64)):
        with pytest.raises(InputError, match="codes of shape"):
            bottleneck.decode(other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cast_bottleneck_keeps_the_contract_and_trains(bottleneck: Bottleneck, dtype: torch.dtype) -> None:
    bottleneck.train()(torch.randn(4, bottleneck.dim, 50))
    bottleneck.to(dtype)
    z = torch.randn(3, bottleneck.dim, 7).to(dtype)
    quantized = bottleneck.eval()(z)
    assert torch.equal(bottleneck.decode(bottleneck.encode(z)).to(dtype), quantized.latents)
    bottleneck.train()(z.requires_grad_()).latents.float().sum().backward()


def test_losses_and_bits_are_finite_in_training(bottleneck: Bottleneck) -> None:
    quantized = bottleneck.train()(torch.randn(8, bottleneck.dim, 9))
    assert quantized.bits.isfinite().all()
    assert all(value.isfinite() for value in quantized.losses.values())
