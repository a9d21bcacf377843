import os

import numpy as np
import pytest

from narrows.evaluation.base import MediaSample
from narrows.evaluation.results import ItemResult, MeasuredPoint, MetricInfo, Results, Speed
from narrows.media.audio import Audio
from narrows.media.image import Image

EVIL = '<script>alert("x")</script>&.wav'


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


@pytest.fixture(scope="session")
def evil():
    """An item name that contains markup."""
    return EVIL


@pytest.fixture(scope="session")
def audio_samples():
    """audio_samples(seconds) -> three samples: a tone and two noisier versions of it, at 16 kHz."""

    def make(seconds=2.0):
        samples = []
        for index, name in enumerate((EVIL, "1.wav", "2.wav")):
            time = np.arange(round(16_000 * seconds)) / 16_000
            tone = np.float32(0.3 * np.sin(2 * np.pi * 220 * (index + 1) * time))[None]
            noise = np.random.default_rng(index).standard_normal(tone.shape).astype(np.float32)
            decoded = {f"ours@{k}": Audio(tone + noise / (10 * k), 16_000) for k in (6, 12)}
            samples.append(MediaSample(name, Audio(tone, 16_000), decoded))
        return samples

    return make


@pytest.fixture(scope="session")
def image_samples():
    """image_samples(side) -> two samples of noise on a ramp, hard to compress; one decoded version is grey."""

    def make(side=64):
        samples = []
        for index in range(2):
            noise = np.random.default_rng(index).integers(0, 100, (3, side, side + 20))
            pixels = np.uint8(noise + np.linspace(0, 150, side + 20))
            grey = np.broadcast_to(pixels.mean(0, keepdims=True), pixels.shape).astype(np.uint8)
            decoded = {"jpeg@10": Image(grey), "jpeg@50": Image(pixels)}
            samples.append(MediaSample(f"{index}.png", Image(pixels), decoded))
        return samples

    return make
