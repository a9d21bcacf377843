import pytest
import torch
from torch import Tensor

from narrows.codecs import (
    ARD,
    FSQ,
    Codec,
    ConvEncoder,
    Gaussian,
    LatentDecoder,
    LatentEncoder,
    LinearSynthesis,
    Rounding,
)
from narrows.errors import InputError
from narrows.recipes.initialization.decoder_metric import Statistics, decoder_metric, square_root
from narrows.recipes.initialization.latents import initialize_latents
from narrows.tokenizers.image import ImageTokenizer


def correlated(count: int = 64, length: int = 50) -> Tensor:
    """Latents (N, 6, F) in 5 dimensions, of different variances, with a mean."""
    mixing = torch.randn(6, 5) * torch.tensor([3.0, 2.0, 1.0, 0.5, 0.2])
    return torch.einsum("ij,njf->nif", mixing, torch.randn(count, 5, length)) + torch.randn(6, 1)


@torch.no_grad()
def errors(codec: Codec, z: Tensor, root: Tensor) -> list[float]:
    """The error of every prefix of the channels in a metric."""
    y = codec.bottleneck.encode_latents(codec.analyze(z))  # type: ignore[operator]
    found = []
    for k in range(1, y.shape[1] + 1):
        kept = y.clone()
        kept[:, k:] = 0
        difference = codec.synthesize(codec.bottleneck.decode_latents(kept)) - z  # type: ignore[operator]
        found.append(float((difference.movedim(1, -1).double() @ root).square().sum(-1).mean()))
    return found


def test_every_prefix_is_the_best_linear_one_in_the_metric() -> None:
    torch.manual_seed(0)
    z = correlated()
    statistics, factor = Statistics.of(z), torch.randn(6, 6, dtype=torch.float64)
    metric = factor @ factor.T
    root = square_root(metric)
    torch.testing.assert_close(root @ root.T, metric)
    codec = Codec(LatentEncoder(6, 5, 8, 1), ARD(5, 5, Rounding()), LatentDecoder(6, 5, 8, 1)).eval()
    initialize_latents(codec, statistics, metric)
    powers = torch.linalg.eigvalsh(root @ statistics.covariance @ root).flip(0)
    wanted = [float(powers[k:].sum()) for k in range(1, 6)]
    torch.testing.assert_close(torch.tensor(errors(codec, z, root)), torch.tensor(wanted), atol=1e-3, rtol=1e-3)
    y = codec.analyze(z).detach()
    assert abs(float(y.mean())) < 1e-3
    assert abs(float(y.var(dim=(0, 2)).mean()) - 1) < 0.01


def test_scalars_of_fsq_get_the_variance_one() -> None:
    torch.manual_seed(0)
    z = correlated()
    codec = Codec(LatentEncoder(6, 4, 8, 1), FSQ(4, (8, 5), 2), LatentDecoder(6, 4, 8, 1)).eval()
    initialize_latents(codec, Statistics.of(z), torch.eye(6, dtype=torch.float64))
    torch.testing.assert_close(codec.analyze(z).detach().var((0, 2)), torch.ones(4), atol=0.02, rtol=0)
    with torch.no_grad():
        error = float((codec(z).x - z).square().mean() / z.var())
    assert error < 0.25


def test_a_gaussian_begins_with_little_noise() -> None:
    torch.manual_seed(0)
    z = correlated()
    codec = Codec(LatentEncoder(6, 5, 8, 1), Gaussian(5, 5), LatentDecoder(6, 5, 8, 1)).train()
    initialize_latents(codec, Statistics.of(z), torch.eye(6, dtype=torch.float64))
    with torch.no_grad():
        error = float((codec(z).x - z).square().mean() / z.var())
    assert error < 0.01


def test_the_metric_is_that_of_a_linear_decoder() -> None:
    """The error of latents in the metric is that of pixels, relative to that of returning the means."""
    torch.manual_seed(0)
    decoder = LinearSynthesis(6)
    tokenizer = ImageTokenizer(Codec(ConvEncoder(6, 6), FSQ(6, (5, 5)), decoder))
    z = torch.randn(12, 6, 5, 5) * torch.tensor([3.0, 1.0, 1.0, 0.3, 2.0, 1.0]).view(1, 6, 1, 1)
    statistics = Statistics.of(z)
    root = square_root(decoder_metric(tokenizer, z, statistics, None))

    def pixels(error: Tensor) -> float:
        with torch.no_grad():
            return float((decoder(z + error) - decoder(z)).square().mean())

    noise = torch.randn_like(z) * z.std((0, 2, 3), keepdim=True)
    whole = pixels(noise)
    for channel in range(6):
        error = torch.zeros_like(z)
        error[:, channel] = 0.1 * noise[:, channel]
        found = float((error.movedim(1, -1).double() @ root).square().sum(-1).mean())
        assert abs(found - pixels(error) / whole) < 0.2 * found + 1e-4


def test_a_decoder_that_ignores_its_latents_is_refused() -> None:
    decoder = LinearSynthesis(6)
    torch.nn.init.zeros_(next(decoder.parameters()))
    tokenizer = ImageTokenizer(Codec(ConvEncoder(6, 6), FSQ(6, (5, 5)), decoder))
    z = torch.randn(4, 6, 3, 3)
    with pytest.raises(InputError, match="expected a decoder whose output depends on its latents, got one of custom"):
        decoder_metric(tokenizer, z, Statistics.of(z), None)


def test_directions_without_variance_have_a_weight() -> None:
    torch.manual_seed(0)
    z = torch.randn(8, 6, 4, 4)
    z[:, 5] = 1.0
    tokenizer = ImageTokenizer(Codec(ConvEncoder(6, 6), FSQ(6, (5, 5)), LinearSynthesis(6)))
    metric = decoder_metric(tokenizer, z, Statistics.of(z), None)
    assert torch.linalg.eigvalsh(metric).min() > 0
    torch.testing.assert_close((metric * Statistics.of(z).covariance).sum(), torch.tensor(1.0, dtype=torch.float64))
