"""Our models of learned image compression against those of CompressAI, with the same random weights."""

import warnings
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from narrows.codecs import Codec, ConvDecoder, ConvEncoder, FactorizedPrior, MeanScaleHyperprior, ScaleHyperprior
from narrows.codecs.bottlenecks.entropy.base import normal_bits
from narrows.codecs.bottlenecks.entropy.hyperprior import Hyperprior
from narrows.codecs.layers.density import Density
from narrows.codecs.layers.gdn import GDN

M, N = 32, 16  # channels of y, and of z and inside
X = 0.5 * torch.randn(2, 3, 64, 128, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def theirs() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses torch.jit.script
        from compressai import models

    return models


@torch.no_grad()
def copied(given: nn.Module, ours: Codec) -> None:
    """Make random weights, the same in their model and in ours."""
    torch.manual_seed(1)
    pairs = [(given.g_a, ours.encoder.layers), (given.g_s, ours.decoder.layers)]
    if isinstance(ours.bottleneck, Hyperprior):
        pairs += [(given.h_a, ours.bottleneck.hyper_encoder), (given.h_s, ours.bottleneck.hyper_decoder)]
    for their_layers, our_layers in pairs:
        for a, b in zip(their_layers, our_layers, strict=True):
            if isinstance(b, GDN):
                a.gamma.add_(0.1 * torch.rand_like(a.gamma))
                b.root_beta.copy_(a.beta)
                b.root_gamma.copy_(a.gamma)
            elif list(b.parameters()):
                nn.init.normal_(a.bias, std=0.1)
                a.weight.mul_(4)
                b.load_state_dict(a.state_dict())
    density: Density = ours.bottleneck.density
    for name, theirs_name in (("matrices", "_matrix"), ("biases", "_bias"), ("factors", "_factor")):
        for index, b in enumerate(getattr(density, name)):
            a = getattr(given.entropy_bottleneck, f"{theirs_name}{index}")
            a.add_(0.3 * torch.randn_like(a))
            b.copy_(a)


def same(ours: Tensor, expected: Tensor, share: float = 1e-5) -> None:
    """Within 1e-5 of the largest number, of which some are far from zero."""
    assert expected.std() > 1e-2 * expected.abs().max()
    torch.testing.assert_close(ours, expected, atol=share * float(expected.abs().max()), rtol=0)


@torch.no_grad()
def test_factorized_prior(theirs: ModuleType) -> None:
    given = theirs.FactorizedPrior(N, M).eval()
    codec = Codec(ConvEncoder(M, N), FactorizedPrior(M), ConvDecoder(M, N)).eval()
    copied(given, codec)
    y = given.g_a(X)
    same(codec.encoder(X), y)
    out, found = given(X), codec(X)
    same(found.quantized.latents, y.round())
    same(found.x, given.g_s(y.round()))
    torch.testing.assert_close(found.quantized.bits, -out["likelihoods"]["y"].log2().sum((1, 2, 3)), rtol=1e-4, atol=0)


@torch.no_grad()
@pytest.mark.parametrize(("name", "part"), [("MeanScale", MeanScaleHyperprior), ("Scale", ScaleHyperprior)])
def test_hyperpriors(theirs: ModuleType, name: str, part: type[Hyperprior]) -> None:
    given = getattr(theirs, f"{name}Hyperprior")(N, M).eval()
    codec = Codec(ConvEncoder(M, N), part(M, N), ConvDecoder(M, N)).eval()
    copied(given, codec)
    y = given.g_a(X)
    z = given.h_a(y if name == "MeanScale" else y.abs())
    z_hat, chance = given.entropy_bottleneck(z)
    out = given.h_s(z_hat)
    scales, means = out.chunk(2, 1) if name == "MeanScale" else (out, torch.zeros_like(out))
    same(codec.encoder(X), y)
    same(codec.bottleneck.hyper(y), z)
    same(codec.bottleneck.density(z_hat), chance)
    codec.bottleneck.train()  # float32, as theirs; what is exact in eval mode is rounded
    mean, scale = codec.bottleneck.predict(z_hat)
    same(scale, scales)
    torch.testing.assert_close(mean, means, atol=1e-5 * float(scales.abs().max()), rtol=0)
    codec.bottleneck.eval()
    same(codec.bottleneck.predict(z_hat)[1].float(), scales, share=0.02)

    y_hat, chance = given.gaussian_conditional(y, scales, means=means)
    same(normal_bits(y_hat - means, scales.clamp(min=0.11)), -chance.log2())
    same(codec.decoder(y_hat), given.g_s(y_hat))
