import pytest
import torch

from narrows.codecs.layers.kaldi import KaldiFeatures


@pytest.mark.parametrize("samples", [720, 4000, 16_123])
def test_features_are_those_of_transformers(samples: int) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    x = 0.3 * torch.randn(samples) * torch.linspace(0, 1, samples)
    x[: samples // 4] = 0  # silence has power 0
    expected = transformers.SeamlessM4TFeatureExtractor()(x.numpy(), sampling_rate=16_000, return_tensors="pt")
    found = KaldiFeatures()(x[None])
    count = expected["attention_mask"].sum() * 2
    found, features = found[:, :count], expected["input_features"].unflatten(2, (2, 80)).flatten(1, 2)[:, :count]
    torch.testing.assert_close(found, features, atol=2e-4, rtol=0)


def test_features_are_of_mean_0_and_variance_1() -> None:
    features = KaldiFeatures()(torch.randn(2, 8000, dtype=torch.float64))
    assert features.dtype == torch.float64
    torch.testing.assert_close(features.mean(1), torch.zeros(2, 80, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(features.var(1), torch.ones(2, 80, dtype=torch.float64), atol=1e-5, rtol=0)
    assert KaldiFeatures()(torch.randn(1, 400)).isfinite().all()
