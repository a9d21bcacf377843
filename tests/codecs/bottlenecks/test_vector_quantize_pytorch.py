"""Against the package itself, with the same weights."""

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
import vector_quantize_pytorch as package
from torch import nn

from narrows.codecs import VectorQuantizePytorch
from narrows.codecs.quantization.package_quantizers import QUANTIZERS
from narrows.errors import InputError
from narrows.parts import build, spec

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "vq": ("VectorQuantize", {"codebook_size": 64}),
    "vq-projected": ("VectorQuantize", {"codebook_size": 64, "codebook_dim": 4, "layernorm_after_project_in": True}),
    "vq-cosine": ("VectorQuantize", {"codebook_size": 64, "use_cosine_sim": True}),
    "vq-heads": ("VectorQuantize", {"codebook_size": 64, "codebook_dim": 4, "heads": 3}),
    "vq-separate": ("VectorQuantize", {"codebook_size": 64, "heads": 2, "separate_codebook_per_head": True}),
    "vq-learned": ("VectorQuantize", {"codebook_size": 64, "learnable_codebook": True, "ema_update": False}),
    "residual-vq": ("ResidualVQ", {"num_quantizers": 4, "codebook_size": 32, "codebook_dim": 4}),
    "residual-vq-cosine": ("ResidualVQ", {"codebook_size": (32, 16, 8), "use_cosine_sim": True}),
    "grouped-residual-vq": ("GroupedResidualVQ", {"groups": 2, "num_quantizers": 3, "codebook_size": 32}),
    "sim-vq": ("SimVQ", {"codebook_size": 64, "frozen_codebook_dim": 4}),
    "residual-sim-vq": ("ResidualSimVQ", {"num_quantizers": 3, "codebook_size": 32}),
    "fsq": ("FSQ", {"levels": (8, 5, 5), "num_codebooks": 2}),
    "fsq-symmetric": ("FSQ", {"levels": (5, 4), "preserve_symmetry": True, "noise_dropout": 0.5}),
    "residual-fsq": ("ResidualFSQ", {"levels": (5, 4), "num_quantizers": 3}),
    "grouped-residual-fsq": ("GroupedResidualFSQ", {"groups": 2, "levels": (5, 4), "num_quantizers": 3}),
    "lfq": ("LFQ", {"codebook_size": 32, "num_codebooks": 2, "commitment_loss_weight": 0.25}),
    "lfq-spherical": ("LFQ", {"codebook_size": 32, "spherical": True}),
    "residual-lfq": ("ResidualLFQ", {"num_quantizers": 3, "codebook_size": 32}),
    "grouped-residual-lfq": ("GroupedResidualLFQ", {"groups": 2, "num_quantizers": 3, "codebook_size": 8}),
    "latent": ("LatentQuantize", {"levels": (5, 4, 3)}),
    "binary-mapper": ("BinaryMapper", {"bits": 5}),
}


@pytest.fixture(params=CASES)
def bottleneck(request: pytest.FixtureRequest) -> VectorQuantizePytorch:
    torch.manual_seed(0)
    quantizer, options = CASES[request.param]
    return VectorQuantizePytorch(6, quantizer, tuple(options.items()))


def run(given: VectorQuantizePytorch, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Latents (B, D, F), codes (B, K, F) and loss of the package's module on z (B, D, F)."""
    module: Any = given.quantizer
    if given.quantizer_name == "BinaryMapper":
        logits = module.project_in(z.transpose(1, 2))
        one_hot, codes, loss = module.mapper(logits, return_indices=True, deterministic=not module.training)
        latents = module.project_out(one_hot)
    elif given.quantizer_name == "LatentQuantize":
        latents, codes, loss = module(z)
        latents = latents.transpose(1, 2)
    else:
        latents, codes, *losses = module(z.transpose(1, 2))
        loss = losses[0].sum() if losses else None
    if given.quantizer_name.startswith("Grouped"):  # (G, B, F, Q)
        codes = codes.permute(1, 2, 3, 0).flatten(2)
    codes = codes.unsqueeze(-1) if codes.ndim == 2 else codes
    return latents.transpose(1, 2), codes.transpose(1, 2).long(), loss


def test_every_quantizer_is_compared() -> None:
    assert {quantizer for quantizer, _ in CASES.values()} == set(QUANTIZERS)


@torch.no_grad()
def test_eval_mode_is_that_of_the_package(bottleneck: VectorQuantizePytorch) -> None:
    bottleneck.eval()
    z = torch.randn(2, 6, 300)
    latents, codes, _ = run(bottleneck, z)
    quantized = bottleneck(z)
    assert torch.equal(bottleneck.encode(z), codes)
    assert torch.equal(quantized.codes, codes)
    torch.testing.assert_close(quantized.latents, latents, atol=1e-5, rtol=1e-5)
    assert quantized.losses == {}


def test_training_is_that_of_the_package(bottleneck: VectorQuantizePytorch) -> None:
    theirs, z = copy.deepcopy(bottleneck), torch.randn(2, 6, 300)
    a, b = z.clone().requires_grad_(), z.clone().requires_grad_()
    for step in range(2):
        torch.manual_seed(step)
        quantized = bottleneck.train()(a)
        torch.manual_seed(step)
        latents, codes, loss = run(theirs.train(), b)
    assert torch.equal(quantized.codes, codes)
    torch.testing.assert_close(quantized.latents, latents, atol=1e-5, rtol=1e-5)
    quantized.latents.square().sum().backward()
    latents.square().sum().backward()
    torch.testing.assert_close(a.grad, b.grad, atol=1e-5, rtol=1e-5)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(bottleneck.state_dict()[name], value)
    if "joint" in quantized.losses or ("commitment" in quantized.losses and len(quantized.losses) == 1):
        torch.testing.assert_close(sum(quantized.losses.values()), loss)


def test_losses_have_the_names_that_recipes_weigh() -> None:
    names = {}
    for name, (quantizer, options) in CASES.items():
        torch.manual_seed(0)
        made = VectorQuantizePytorch(6, quantizer, tuple(options.items()))
        names[name] = set(made(torch.randn(2, 6, 9)).losses)
    assert names["vq"] == names["residual-vq"] == names["grouped-residual-vq"] == {"commitment"}
    assert names["vq-learned"] == names["sim-vq"] == names["residual-lfq"] == names["latent"] == {"joint"}
    assert names["lfq"] == {"commitment", "sample_entropy", "diversity"}
    assert names["lfq-spherical"] == {"sample_entropy", "diversity"}
    assert names["fsq"] == names["residual-fsq"] == set()
    assert names["binary-mapper"] == {"kl"}


@pytest.mark.parametrize("quantizer", ["ResidualVQ", "ResidualSimVQ", "ResidualLFQ", "GroupedResidualVQ"])
def test_dropout_makes_prefixes(quantizer: str) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"num_quantizers": 4, "codebook_size": 16, "quantize_dropout": True}
    groups = 2 if quantizer.startswith("Grouped") else 1
    options |= {"groups": 2} if groups == 2 else {}
    made = VectorQuantizePytorch(6, quantizer, tuple(options.items()))
    assert made.prefixes == tuple(groups * k for k in (1, 2, 3, 4))
    z = torch.randn(2, 6, 9)
    kept = set()
    for _ in range(40):
        quantized = made.train()(z)
        kept.add(quantized.codes.shape[1])
        assert quantized.bits.tolist() == [4 * 9 * quantized.codes.shape[1]] * 2
    assert kept == set(made.prefixes)
    codes = made.eval().encode(z)
    made.decode(codes[:, :groups])
    options["quantize_dropout_cutoff_index"], options["quantize_dropout_multiple_of"] = 1, 2
    assert VectorQuantizePytorch(6, quantizer, tuple(options.items())).prefixes == (2 * groups, 4 * groups)
    del options["quantize_dropout"]
    whole = VectorQuantizePytorch(6, quantizer, tuple(options.items()))
    with pytest.raises(InputError, match="expected codes of"):
        whole.decode(codes[:, :groups])


@pytest.mark.parametrize("grid", [(7,), (3, 4), (2, 3, 4)])
def test_grids_are_sequences_in_their_order(bottleneck: VectorQuantizePytorch, grid: tuple[int, ...]) -> None:
    z = torch.randn(2, 6, *grid)
    codes = bottleneck.eval().encode(z)
    assert torch.equal(codes.flatten(2), bottleneck.encode(z.flatten(2)))
    assert bottleneck.decode(codes).shape == z.shape


def test_learned_values_of_latent_quantization_are_decoded() -> None:
    made = VectorQuantizePytorch(3, "LatentQuantize", (("levels", (5, 4, 7)),)).eval()
    with torch.no_grad():
        for values in made.quantizer.values_per_latent:
            values.mul_(3)
    z = 2 * torch.randn(1, 3, 50)
    assert isinstance(made.quantizer.project_out, nn.Identity)
    wanted = torch.stack(
        [v[(z[0, i, :, None] - v).abs().argmin(-1)] for i, v in enumerate(made.quantizer.values_per_latent)]
    )
    assert torch.equal(made(z).latents[0], wanted)


def test_levels_are_digits_for_entropy_coding() -> None:
    made = VectorQuantizePytorch(6, "FSQ", (("levels", (17,) * 4), ("num_codebooks", 2)))
    assert made.radices == ((289, 289),) * 2


@pytest.mark.parametrize(
    ("quantizer", "options", "message"),
    [
        ("VectorQuantise", (("codebook_size", 4),), "did you mean 'VectorQuantize'"),
        ("RandomProjectionQuantizer", (), "expected a quantizer of"),
        ("__import__", (), "expected a quantizer of"),
        ("VectorQuantize", (("codebok_size", 4),), "did you mean 'codebook_size'"),
        ("VectorQuantize", (("codebook_size", 4), ("codebook_size", 4)), "each once"),
        ("VectorQuantize", (("codebook_size", 4), ("accept_image_fmap", True)), "expected an option"),
        ("VectorQuantize", (("codebook_size", 4), ("in_place_codebook_optimizer", "x")), "expected an option"),
        ("VectorQuantize", (("codebook_size", 1 << 30),), "expected numbers up to"),
        ("VectorQuantize", (("codebook_size", [[4]]),), "expected numbers up to"),
        ("VectorQuantize", (("codebook_size", 4), ("heads", 1 << 24)), "expected numbers up to 65536"),
        ("LFQ", (("codebook_size", 2.0**33),), "expected numbers up to"),
        ("LFQ", (("codebook_size", 1 << 24),), "expected tables of all codes"),
        ("ResidualLFQ", (("codebook_size", 1 << 16), ("num_quantizers", 100)), "expected tables of all codes"),
        ("BinaryMapper", (("bits", 30),), "expected tables of all codes"),
        ("FSQ", (("levels", (16,) * 6),), "expected tables of all codes"),
        ("FSQ", (("levels", (16.5,) * 6),), "expected tables of all codes"),
        ("GroupedResidualFSQ", (("levels", (8,) * 6), ("groups", 6), ("num_quantizers", 60)), "tables of all codes"),
        ("LatentQuantize", (("levels", 256), ("codebook_dim", 4)), "expected tables of all codes"),
        ("VectorQuantize", ("codebook_size",), "expected options as pairs"),
        ("VectorQuantize", (), "expected options that VectorQuantize accepts"),
        ("FSQ", (("levels", (2, 2)),), "preserve_symmetry"),
        ("VectorQuantize", (("codebook_size", 4099),), "product of factors"),
    ],
)
def test_wrong_arguments_raise(quantizer: str, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        VectorQuantizePytorch(6, quantizer, options)


def test_a_codebook_of_all_numbers_of_a_dim_is_not_tabulated() -> None:
    """The package takes 2^dim codes where there is no codebook_size."""
    with pytest.raises(InputError, match="expected tables of all codes"):
        VectorQuantizePytorch(33, "LFQ", ())


def test_a_cast_keeps_float32() -> None:
    made = VectorQuantizePytorch(6, "ResidualVQ", (("num_quantizers", 2), ("codebook_size", 16), ("codebook_dim", 4)))
    before = copy.deepcopy(made.state_dict())
    made.bfloat16()
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_it_is_built_from_json_and_runs_in_a_copy() -> None:
    made = VectorQuantizePytorch(6, "ResidualFSQ", (("levels", (5, 4)), ("num_quantizers", 2)))
    again = copy.deepcopy(build(spec(made)))
    again.load_state_dict(made.state_dict())
    z = torch.randn(1, 6, 20)
    assert torch.equal(again.eval().encode(z), made.eval().encode(z))
    with torch.no_grad():
        again.quantizer.project_in.weight.zero_()
    assert not torch.equal(again.encode(z), made.encode(z))


def test_the_package_is_imported_only_where_it_is_used() -> None:
    code = "import sys, narrows.codecs; sys.exit('vector_quantize_pytorch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_package_has_the_quantizers() -> None:
    assert all(hasattr(package, name) for name in QUANTIZERS)
