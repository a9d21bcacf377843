import math
from collections.abc import Callable

import pytest
import torch

from narrows.codecs import Gaussian, Identity, Rounding, SoftNorm, SplitGaussian, Tanh
from narrows.codecs.bottlenecks.ard import ARD
from narrows.codecs.bottlenecks.continuous import Continuous
from narrows.errors import InputError
from narrows.parts import build, spec

KINDS: dict[str, Callable[..., Continuous]] = {"tanh": Tanh, "soft-norm": SoftNorm, "gaussian": Gaussian, "ard": ARD}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Callable[..., Continuous]:
    torch.manual_seed(0)
    return KINDS[request.param]


def test_without_rounding_there_are_no_codes_and_eval_mode_adds_no_noise(kind: Callable[..., Continuous]) -> None:
    bottleneck, z = kind(6, 4), torch.randn(2, 6, 5)
    assert bottleneck.train()(z).codes is None
    quantized = bottleneck.eval()(z)
    assert quantized.codes is None
    assert torch.equal(quantized.latents, bottleneck(z).latents)
    torch.testing.assert_close(quantized.latents, bottleneck.decode_latents(bottleneck.encode_latents(z)))
    assert bottleneck.codebook_sizes == bottleneck.prefixes == bottleneck.radices == ()
    for call in (lambda: bottleneck.encode(z), lambda: bottleneck.decode(torch.zeros(1, 1, 1).long())):
        with pytest.raises(InputError, match="give it rounding=Rounding"):
            call()


def test_rounding_moves_channels_by_half_a_step_at_most(kind: Callable[..., Continuous]) -> None:
    step = 0.125
    bottleneck, z = kind(6, 4, rounding=Rounding(step, 8.0)), torch.randn(2, 6, 500)
    y = bottleneck.eval().encode_latents(z)
    values = bottleneck._rounding().values(bottleneck.encode(z))
    assert (values - y).abs().max() <= step / 2 + 1e-6
    assert bottleneck.codebook_sizes == (129,) * 4


def test_training_noise_is_one_step_wide_and_leaves_the_mean(kind: Callable[..., Continuous]) -> None:
    bottleneck = kind(4, 4, rounding=Rounding(0.5, 8.0)).train()
    torch.nn.init.eye_(bottleneck.project_out.weight)
    torch.nn.init.zeros_(bottleneck.project_out.bias)
    z = torch.randn(1, 4, 20_000)
    noise = bottleneck(z).latents - bottleneck.encode_latents(z)
    assert noise.abs().max() <= 0.25 + 1e-5
    assert noise.std().item() == pytest.approx(0.5 / math.sqrt(12), rel=0.02)
    assert noise.mean().abs() < 0.01


def test_spec_holds_the_rounding(kind: Callable[..., Continuous]) -> None:
    bottleneck = kind(6, 4, rounding=Rounding(0.5, 3.0))
    again = build(spec(bottleneck))
    assert again.codebook_sizes == bottleneck.codebook_sizes == (13,) * 4


def test_values_beyond_the_range_are_clipped_and_get_a_gradient() -> None:
    rounding = Rounding(0.5, 2.0)
    y = torch.tensor([-9.0, -2.1, 0.3, 7.0], requires_grad=True)
    assert rounding.codes(y).tolist() == [0, 0, 5, 8]
    assert rounding.values(rounding.codes(y)).tolist() == [-2.0, -2.0, 0.5, 2.0]
    rounding.noisy(y).sum().backward()
    assert y.grad is not None
    assert y.grad.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("settings", [(0.0, 1.0), (1.0, 0.5), (1e-9, 1.0), (float("nan"), 1.0), (0.1, float("inf"))])
def test_invalid_roundings_raise(settings: tuple[float, float]) -> None:
    with pytest.raises(InputError):
        Rounding(*settings)


def test_tanh_stays_within_one() -> None:
    assert Tanh(4, 3).encode_latents(100 * torch.randn(1, 4, 50)).abs().max() <= 1


def test_soft_norm_loss_gives_mean_0_and_variance_1() -> None:
    torch.manual_seed(0)
    bottleneck, z = SoftNorm(4, 3), 5 * torch.randn(2, 4, 500) + 3
    optimizer = torch.optim.Adam(bottleneck.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        bottleneck(z).losses["norm"].backward()
        optimizer.step()
    channels = bottleneck.encode_latents(z).movedim(1, 0).flatten(1)
    torch.testing.assert_close(channels.mean(1), torch.zeros(3), atol=0.1, rtol=0)
    torch.testing.assert_close(channels.std(1), torch.ones(3), atol=0.1, rtol=0)
    assert not torch.equal(bottleneck(z).latents, bottleneck.eval()(z).latents)
    assert bottleneck(z[:1, :, :1]).losses["norm"].isfinite()


def test_divergence_is_that_of_torch() -> None:
    torch.manual_seed(0)
    bottleneck, z = Gaussian(6, 4).eval(), torch.randn(3, 6, 5)
    mean, log_variance = bottleneck.project_in(z.movedim(1, -1)).chunk(2, -1)
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    nats = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0))
    quantized = bottleneck(z)
    torch.testing.assert_close(quantized.losses["kl"], nats.sum(-1).mean())
    torch.testing.assert_close(quantized.bits, nats.sum((1, 2)) / math.log(2))


def test_divergence_of_a_rounded_channel_is_that_of_uniform_noise() -> None:
    torch.manual_seed(0)
    bottleneck, z = Gaussian(6, 4, Rounding(0.5, 8.0)).eval(), torch.randn(1, 6, 3)
    mean = bottleneck.encode_latents(z)
    samples = mean + 0.5 * (torch.rand(200_000, *mean.shape) - 0.5)
    density = torch.distributions.Normal(0.0, 1.0).log_prob(samples).mean(0)
    nats = (-math.log(0.5) - density).sum(1).mean()
    torch.testing.assert_close(bottleneck(z).losses["kl"], nats, atol=1e-2, rtol=0)


def test_samples_have_the_predicted_mean_and_variance() -> None:
    torch.manual_seed(0)
    bottleneck, z = Gaussian(3, 3).train(), torch.randn(1, 3, 1).expand(1, 3, 50_000)
    torch.nn.init.eye_(bottleneck.project_out.weight)
    torch.nn.init.zeros_(bottleneck.project_out.bias)
    mean, log_variance = bottleneck.project_in(z[0].T)[0].chunk(2)
    latents = bottleneck(z).latents[0]
    torch.testing.assert_close(latents.mean(1), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(latents.var(1), log_variance.exp(), atol=0, rtol=0.05)


def test_the_identity_changes_nothing() -> None:
    bottleneck, z = Identity(6), torch.randn(2, 6, 5)
    assert bottleneck.channels == 6
    assert bottleneck.state_dict() == {}
    for same in (bottleneck(z).latents, bottleneck.encode_latents(z), bottleneck.decode_latents(z)):
        assert torch.equal(same, z)
    with pytest.raises(InputError, match="expected a bottleneck with codes"):
        bottleneck.encode(z)


def test_a_split_gaussian_samples_the_latents_themselves() -> None:
    torch.manual_seed(0)
    bottleneck, z = SplitGaussian(3).train(), torch.randn(1, 6, 1).expand(1, 6, 40_000)
    assert bottleneck.state_dict() == {}
    assert bottleneck.dim == 6
    mean, scale = z.chunk(2, 1)
    latents = bottleneck(z).latents
    torch.testing.assert_close(latents.mean(2), torch.cat([mean[..., 0], 0 * mean[..., 0]], 1), atol=0.03, rtol=0)
    deviation = torch.nn.functional.softplus(scale) + 1e-4
    torch.testing.assert_close(latents[:, :3].std(2), deviation[..., 0], atol=0, rtol=0.03)
    assert not latents[:, 3:].any()
    assert torch.equal(bottleneck.eval().encode_latents(z), mean)
    assert torch.equal(bottleneck.decode_latents(mean), bottleneck(z).latents)
