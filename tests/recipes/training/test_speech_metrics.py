import torch

from narrows.recipes.training.speech_metrics import speech_metrics


def vowel(seconds: float) -> torch.Tensor:
    time = torch.arange(int(seconds * 16_000)) / 16_000
    carrier = sum(torch.sin(2 * torch.pi * 140 * k * time) / k for k in range(1, 20))
    return 0.1 * carrier * (1 + torch.sin(2 * torch.pi * 3 * time))


def test_less_noise_has_better_metrics() -> None:
    x = vowel(3)
    noise = torch.randn(len(x), generator=torch.Generator().manual_seed(0))
    good, bad = (speech_metrics(x, x + level * noise, 16_000) for level in (0.001, 0.1))
    assert good.keys() == {"estoi", "pesq"}
    assert good["estoi"] > bad["estoi"]
    assert good["pesq"] > bad["pesq"]
    assert speech_metrics(x, x, 8_000).keys() == {"estoi"}


def test_metrics_that_cannot_be_computed_are_missing() -> None:
    x = vowel(2)
    assert speech_metrics(x[:8000], x[:8000], 16_000) == {}
    assert speech_metrics(x, x * torch.nan, 16_000) == {}
    for silent in (torch.zeros(32_000), 1e-9 * x):
        metrics = speech_metrics(silent, x, 16_000)
        assert all(torch.isfinite(torch.tensor(value)) for value in metrics.values())
