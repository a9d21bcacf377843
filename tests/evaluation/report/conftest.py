from dataclasses import replace

import pytest

from narrows.evaluation.bands import BandDistortion
from narrows.evaluation.metrics.codebook_usage import CodebookUsage
from narrows.evaluation.report import write_report
from narrows.evaluation.results import ItemResult, MeasuredPoint, MetricInfo, Results


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
def audio_report(results, audio_samples, evil, tmp_path_factory):
    """A folder with a report that has every section."""
    folder, results_with_markup = tmp_path_factory.mktemp("audio"), results()
    results_with_markup = replace(
        results_with_markup,
        item_results=[
            replace(row, item=evil) if row.item == "0.wav" else row for row in results_with_markup.item_results
        ],
        points=[
            replace(point, codebooks=[CodebookUsage(16, 1000, 0.75, 3.2, 9.2)]) if point.name == "ours@6" else point
            for point in results_with_markup.points
        ],
    )
    write_report(
        results_with_markup,
        folder,
        audio_samples(),
        bands={name: bands(name) for name in ("ours@6", "opus@6")},
        bit_flips={"ours@6": bit_flip_results()},
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


@pytest.fixture(scope="session")
def video_report(video_samples, tmp_path_factory):
    """A folder with a video report of one codec."""
    points = [MeasuredPoint(f"ours@{level}", "ours", level, {}) for level in (4, 7)]
    rows = [
        ItemResult(f"{item}.mp4", point.name, 5e5, 1000 * (item + 1), metrics={"psnr": 10.0 * point.setting})
        for point in points
        for item in range(2)
    ]
    results = Results("video", points, rows, [MetricInfo("psnr", "dB", "higher", "Peak signal to noise ratio.")])
    folder = tmp_path_factory.mktemp("clips")
    write_report(results, folder, video_samples())
    return folder
