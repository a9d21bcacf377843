import json

import numpy as np
import pytest
import soundfile
from PIL import Image

pytest.importorskip("matplotlib", reason="needs the extra evaluate")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(2):
        smooth = np.cumsum(rng.normal(0, 6, (48, 64, 3)), 1) + 128
        Image.fromarray(smooth.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")
    (folder / "broken.png").write_bytes(b"nothing")
    return folder


COMMON = ("--no-speed", "--metrics", "psnr,ssim", "--jobs", "1")


def test_report_and_comparison(codec, place, data):
    first = codec("evaluate", "-m", "jpeg@20,40,60,80", "-m", "webp@30", "--data", data, "-o", "a", *COMMON)
    assert first.code == 2, first  # one file could not be read
    lines = first.out.splitlines()
    assert [line.split()[0] for line in lines] == ["→", "jpeg@20", "jpeg@40", "jpeg@60", "jpeg@80", "webp@30"]
    assert all("bits per pixel  psnr " in line for line in lines[1:])
    assert "skipped broken.png" in first.err
    assert {path.name for path in (place / "a").iterdir()} == {
        "index.html", "cache", "plots", "results.json", "item_results.csv", "item_results.parquet", "summary.csv",
    }  # fmt: skip
    again = codec("evaluate", "-m", "jpeg@20,40,60,80", "-m", "webp@30", "--data", data, "-o", "a", *COMMON)
    assert again.out == first.out
    assert "10 of 15 measurements are cached" in again.err  # what cannot be read is tried again
    side = codec("evaluate", "--compare", "a/results.json", "a/results.json", "-o", "same.json")
    assert side.code == 0
    assert "jpeg@20" in side.out
    comparison = json.loads((place / "same.json").read_text())
    assert {difference["change"]["mean"] for difference in comparison["differences"]} == {0}


def test_list_of_metrics(codec):
    listing = codec("evaluate", "--metrics", "?")
    assert listing.code == 0
    assert any(line.startswith("* image  psnr") for line in listing.out.splitlines())
    assert any(line.startswith("  audio  visqol-audio") for line in listing.out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected -m, --data and -o"),
        (("-m", "jpeg@3", "--data", "", "-o", "a"), "expected -m, --data and -o"),
        (("-m", "jpeg@3", "--data", "DATA", "-o", ""), "expected -m, --data and -o"),
        (("-m", "jpg@3", "--data", "DATA", "-o", "a"), "did you mean 'jpeg'"),
        (("-m", "jpeg@3", "-m", "opus@6", "--data", "DATA", "-o", "a"), "expected operating points of one medium"),
        (("-m", "jpeg@3", "--data", "nowhere", "-o", "a"), "there is no file or folder 'nowhere'"),
        (("-m", "jpeg@3", "--data", "DATA", "-o", "a", "--metrics", "pnsr"), "did you mean 'psnr'"),
        (("-m", "jpeg@3", "--data", "DATA", "-o", "a", "--metrics", "estoi"), "of audio"),
        (("-m", "jpeg@3", "--data", "DATA", "-o", "a", "--bit-flips", "x"), "numbers for --bit-flips, got 'x'"),
        (("--compare", "no.json", "no.json"), "no.json"),
        (("--compare", "a", "b", "-m", "jpeg@3"), "run two commands"),
    ],
)
def test_invalid_requests_are_rejected(refused, data, arguments, message):
    line = refused("evaluate", *(str(data) if part == "DATA" else part for part in arguments), out=None)
    assert message in line


def test_output_folder_is_not_searched_for_data(codec, place, data):
    for name in ("0.png", "1.png"):
        (place / name).write_bytes((data / name).read_bytes())
    for metrics in ("psnr,ssim", "psnr"):  # the second time fewer metrics, and images in report/
        made = codec(
            "evaluate",
            "-m",
            "jpeg@20,40",
            "--data",
            ".",
            "-o",
            "report",
            "--no-speed",
            "--metrics",
            metrics,
            "--jobs",
            1,
        )
        assert made.code == 0, made
        results = json.loads((place / "report" / "results.json").read_text())
        assert {row["item"] for row in results["item_results"]} == {"0.png", "1.png"}
        assert {metric["name"] for metric in results["metrics"]} == set(metrics.split(","))
    assert not list((place / "report" / "plots").glob("*ssim*"))


def test_use_of_codes_is_printed(codec, place, tiny_checkpoint):
    soundfile.write(place / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    model = tiny_checkpoint()
    made = codec("evaluate", "-m", f"{model}@2", "--data", "a.wav", "-o", "b", "--no-speed", "--metrics", "snr")
    assert made.code == 0, made
    assert "  100 codes/second, " in made.out  # 50 frames of 2 codebooks
    assert "% used, perplexity " in made.out
    (point,) = json.loads((place / "b" / "results.json").read_text())["points"]
    assert [(usage["size"], usage["codes"]) for usage in point["codebooks"]] == [(16, 50)] * 2
