import pytest
import visqol

from narrows.errors import InputError
from narrows.evaluation.base import NotMeasurable
from narrows.evaluation.metrics import metric
from narrows.evaluation.metrics import visqol as module


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
