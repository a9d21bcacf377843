import os

import numpy as np
import pytest

from narrows.evaluation.results import ItemResult, MeasuredPoint, MetricInfo, Results, Speed


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """Tests do not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="session")
def results():
    """results(gain) -> two codecs with four points each over six recordings; the first codec better by a gain in dB."""

    def make(gain=0.0):
        points, rows = [], []
        for family, offset in (("ours", 2 + gain), ("opus", 0)):
            for kbps in (6, 8, 12, 16):
                speed = Speed(50.0 + kbps, 200.0, 120.5, 1_000_000, 2e9) if family == "ours" else None
                points.append(MeasuredPoint(f"{family}@{kbps}", family, kbps, {"version": "1.0"}, speed))
                for item in range(6):
                    noise = np.random.default_rng([kbps, item]).normal(0, 0.2)
                    sdr = 10 * np.log10(kbps) + offset + item + noise
                    metrics = {"sdr": sdr, "mel": 10 - sdr / 4}
                    failures = {}
                    if item == 5 and family == "opus":
                        failures["mel"] = "silence"
                        del metrics["mel"]
                    size = round(125 * kbps * (2 + item) * (1 + noise / 10))
                    rows.append(ItemResult(f"{item}.wav", points[-1].name, 2 + item, size, size - 9, metrics, failures))
        metrics = [
            MetricInfo("sdr", "dB", "higher", "Signal to distortion ratio."),
            MetricInfo("mel", "dB", "lower", "Mean difference of 80 mel bands."),
        ]
        setup = {"data": "six recordings", "date": "2026-01-02"}
        return Results("audio", points, rows, metrics, {"mp3@2": "FFmpeg without libmp3lame"}, setup)

    return make
