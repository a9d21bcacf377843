from dataclasses import replace

import numpy as np
import pytest

from narrows.evaluation.bands import BandDistortion
from narrows.evaluation.metrics.codebook_usage import CodebookUsage
from narrows.evaluation.report import MediaSample, write_report
from narrows.evaluation.results import ItemResult, MeasuredPoint, MetricInfo, Results
from narrows.media.audio import Audio
from narrows.media.image import Image

EVIL = '<script>alert("x")</script>&.wav'


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


def bands(name):
    return BandDistortion(
        "Hz", (0.0, 100.0, 1000.0, 8000.0), (1.0, 1.0, 0.0), (0.1, 0.2, 0.0), (1.0, 4.0, len(name)), (1.0,) * 3
    )


def bit_flip_results():
    points = [MeasuredPoint(f"ours@6+bit-flips@{p:g}", "ours@6+bit-flips", p, {}) for p in (1e-4, 1e-3)]
    item_results = [
        ItemResult(f"{i}.wav", point.name, 8.0, 100, metrics={"sdr": 1e-3 / point.setting + i})
        for point in points
        for i in range(3)
    ]
    return Results("audio", points, item_results, [MetricInfo("sdr", "dB", "higher", "Signal to distortion.")])


@pytest.fixture(scope="session")
def audio_report(results, audio_samples, tmp_path_factory):
    """A folder with a report that has every section."""
    folder, results_with_markup = tmp_path_factory.mktemp("audio"), results()
    results_with_markup = replace(
        results_with_markup,
        item_results=[
            replace(row, item=EVIL) if row.item == "0.wav" else row for row in results_with_markup.item_results
        ],
    )
    write_report(
        results_with_markup,
        folder,
        audio_samples(),
        bands={name: bands(name) for name in ("ours@6", "opus@6")},
        bit_flips={"ours@6": bit_flip_results()},
        codebooks={"ours@6": [CodebookUsage(16, 1000, 0.75, 3.2, 9.2)]},
    )
    return folder


@pytest.fixture(scope="session")
def image_report(image_samples, tmp_path_factory):
    """A folder with an image report of one codec."""
    points = [MeasuredPoint(f"jpeg@{quality}", "jpeg", quality, {}) for quality in (10, 50)]
    rows = [
        ItemResult(
            f"{item}.png", point.name, 5376, 100 * (item + 1) * round(point.setting), metrics={"psnr": point.setting}
        )
        for point in points
        for item in range(2)
    ]
    results = Results("image", points, rows, [MetricInfo("psnr", "dB", "higher", "Peak signal to noise ratio.")])
    folder = tmp_path_factory.mktemp("images")
    write_report(results, folder, image_samples())
    return folder
