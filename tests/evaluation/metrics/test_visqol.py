import pytest
import visqol

from narrows.errors import InputError
from narrows.evaluation.base import NotMeasurable
from narrows.evaluation.metrics import metric
from narrows.evaluation.metrics import visqol as module
from narrows.media.audio import Audio


@pytest.mark.parametrize(("mode", "rate"), [("audio", 48_000), ("speech", 16_000)])
def test_matches_the_package(mode, rate, voice, noisy):
    if mode == "speech":
        pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
    x = voice(1, rate)
    y = noisy(x, 0.003)
    judge = visqol.VisqolApi()
    judge.create(mode=mode)
    expected = judge.measure_from_arrays(x.samples[0], y.samples[0], rate).moslqo
    assert metric(f"visqol-{mode}").measure(x, y) == pytest.approx(expected, abs=1e-6)
    assert 1 < expected < 4.73


def test_long_audio_is_split(voice, noisy, monkeypatch):
    """Memory does not grow with the length: mean over equal segments; silent segments do not count."""
    monkeypatch.setattr(module, "MAX_SECONDS", 1)
    measure, x = metric("visqol-audio").measure, voice(2, 48_000)
    x.samples[0, :48_000] *= 0.5
    y = noisy(x, 0.003)
    halves = [
        [Audio(each.samples[:, part], 48_000) for each in (x, y)] for part in (slice(48_000), slice(48_000, None))
    ]
    first, second = (measure(*half) for half in halves)
    assert first != second
    assert measure(x, y) == pytest.approx((first + second) / 2, abs=1e-6)
    x.samples[0, :48_000] = 0
    assert measure(x, y) == pytest.approx(second, abs=1e-6)


def test_speech_needs_the_lattice_network(monkeypatch):
    """Without LiteRT the package would map to another scale; the metric is left out instead."""

    def missing(package):
        if package == "ai_edge_litert":
            raise InputError("expected the package ai_edge_litert")

    monkeypatch.setattr(module, "require_package", missing)
    metric("visqol-audio").check()
    with pytest.raises(InputError, match="ai_edge_litert"):
        metric("visqol-speech").check()


@pytest.mark.parametrize("mode", ["audio", "speech"])
def test_too_short_audio_is_undefined(mode, voice):
    x = voice(0.5)
    with pytest.raises(NotMeasurable, match="too short"):
        metric(f"visqol-{mode}").measure(x, x)
