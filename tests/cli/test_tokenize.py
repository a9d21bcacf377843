import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra datasets")

from narrows.bitstream import read
from narrows.datasets.shards import read_shard

RANK = ("--rank", 0, "--world", 1)  # in this process
MINUTES = ("--shard-minutes", 0.05)


@pytest.fixture
def source(wav):
    """A folder of twelve recordings."""
    for number in range(12):
        wav(f"source/{number}.wav", samples=20_000 + 1000 * number)
    return "source"


def digests(folder):
    """SHA-256 of the files of a run that count."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder).glob("[!.]*")}


def keys(folder):
    return sorted(row.key for path in Path(folder).glob("*.parquet") for row in read_shard(path))


def test_the_codes_are_those_of_encode(codec, model, source):
    assert codec("tokenize", source, "-m", model, "-o", "out", *RANK, *MINUTES).code == 0
    assert codec("encode", source, "-m", model, "-o", "streams", "--raw").code == 0
    rows = {row.key: row for path in Path("out").glob("*.parquet") for row in read_shard(path)}
    assert len(rows) == 12
    for key, row in rows.items():
        assert np.array_equal(row.values, read(Path("streams", f"{key}.nrw").read_bytes()))


def test_a_summary_is_printed(codec, model, source):
    result = codec("tokenize", source, "-m", model, "-o", "out", *RANK, *MINUTES, "--json")
    summary = json.loads(result.out)
    assert (result.code, result.err) == (0, "")
    assert (summary["items"], summary["failures"], summary["skipped"], summary["medium"]) == (12, 0, 0, "audio")
    assert summary["amount"] == pytest.approx(sum(20_000 + 1000 * n for n in range(12)) / 16_000)
    assert summary["speed"] == pytest.approx(summary["amount"] / summary["seconds"])
    assert 0 < summary["network_fraction"] < 1
    again = codec("tokenize", source, "-m", model, "-o", "out", *RANK, *MINUTES)
    assert f"12 items in {summary['shards']} shards, {summary['shards']} shards finished before; " in again.out
    first, second = (codec("tokenize", source, "-m", model, "-o", "one", *RANK).out for _ in range(2))
    assert "one: 12 items in 1 shard; " in first
    assert "one: 12 items in 1 shard, 1 shard finished before; " in second


def test_a_manifest_with_files_outside_of_its_folder_gives_a_line(codec, model, source, place):
    (place / "source" / "lists").mkdir()
    (place / "source" / "lists" / "own.wav").write_bytes((place / "source" / "3.wav").read_bytes())
    (place / "source" / "lists" / "m.csv").write_text("path\nown.wav\n../3.wav\n")
    result = codec("tokenize", "source/lists/m.csv", "-m", model, "-o", "out", *RANK)
    assert result.code == 0
    assert result.err.count("\n") == 1
    assert "3.wav' is outside of the folder of its manifest" in result.err


def test_failed_items_make_the_exit_code_2(codec, model, source, place):
    (place / "source" / "3.wav").write_bytes(b"none")
    result = codec("tokenize", source, "-m", model, "-o", "out", *RANK)
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert result.err.startswith("codec: 1 of 12 items failed: 1 × expected audio (")
    assert "got …, which cannot be decoded" in result.err
    assert result.err.endswith(" ('3'); see out/*.errors.jsonl; --retry tries them again\n")
    assert keys("out") == sorted(str(number) for number in range(12) if number != 3)


def test_failures_are_summed_up_by_reason(codec, model, source, place):
    for number in range(4):
        (place / "source" / f"{number}.wav").write_bytes(b"none")
    (place / "source" / "9.wav").write_bytes(b"")
    result = codec("tokenize", source, "-m", model, "-o", "out", *RANK, "--json")
    reasons = json.loads(result.out)["reasons"]
    assert [(reason["count"], reason["keys"]) for reason in reasons] == [(4, ["0", "1", "2"]), (1, ["9"])]
    assert result.err.count("\n") == 1
    assert "5 of 12 items failed: 4 × expected audio" in result.err
    assert "('0', '1', '2', …); 1 × " in result.err


def test_several_sources_and_a_size(codec, image_checkpoint, image_file, place):
    image_file("a/x/1.png")
    image_file("b/1.png")
    options = ["-m", image_checkpoint, "-o", "out", *RANK, "--size", 32, "--crop", "resize"]
    assert codec("tokenize", "a", "b", *options).code == 0
    rows = [row for path in Path("out").glob("*.parquet") for row in read_shard(path)]
    assert [(row.key, row.meta, row.extent.size) for row in rows] == [
        ("a/x/1", {"label": "a/x"}, (32, 32)),
        ("b/1", {"label": "b"}, (32, 32)),
    ]


def test_files_of_another_medium_are_told_of(codec, model, source, place):
    for name in ("a.png", "b.png", "notes.txt"):
        (place / "source" / name).write_bytes(b"none")
    result = codec("tokenize", source, "-m", model, "-o", "out", *RANK)
    assert result.code == 0
    assert result.err == "codec: skipped 3 files that are no audio or data set: .png 2, .txt 1\n"
    assert len(keys("out")) == 12


def test_all_items_may_fail(codec, model, place):
    (place / "source").mkdir()
    (place / "source" / "a.wav").write_bytes(b"none")
    assert codec("tokenize", "source", "-m", model, "-o", "out", *RANK).code == 2
    assert keys("out") == []


def test_retry_and_limit(codec, model, source, place, wav):
    good = (place / "source" / "3.wav").read_bytes()
    (place / "source" / "3.wav").write_bytes(bytes(len(good)))
    options = ("tokenize", source, "-m", model, "-o", "out", *RANK, *MINUTES, "--limit", 8)
    assert codec(*options).code == 2
    assert len(keys("out")) == 7
    (place / "source" / "3.wav").write_bytes(good)
    assert codec(*options).code == 2
    assert codec(*options, "--retry").code == 0
    assert len(keys("out")) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rank", 0], "expected both --rank and --world"),
        (["--rank", 2, "--world", 2], "expected a rank from 0"),
        ([*RANK, "--workers", 2], "a rank is one process"),
        ([*RANK, "--shard-minutes", 0], "more than 0"),
        ([*RANK, "--shard-minutes", "nan"], "more than 0"),
        ([*RANK, "-q", 4], "got quality=4"),
        ([*RANK, "--codebooks", 7], "expected codebooks of 1, 2, 3"),
        ([*RANK, "--device", "nonsense"], "nonsense"),
        ([*RANK, "--size", 64], "expected images for a size, got audio"),
        ([*RANK, "--crop", "center"], "expected a size with a crop"),
        ([*RANK, "--size", 0], "expected a size from 1"),
    ],
)
def test_invalid_tokenize_options_are_refused(refused, model, source, options, message):
    assert message in refused("tokenize", source, "-m", model, "-o", "out", *options, advice=False)


def test_missing_sources_are_refused(refused, model, place):
    assert "nowhere" in refused("tokenize", "nowhere", "-m", model, "-o", "out", *RANK)


def test_other_options_in_the_same_folder_are_refused(codec, refused, model, source):
    codec("tokenize", source, "-m", model, "-o", "out", *RANK)
    line = refused("tokenize", source, "-m", model, "-o", "out", *RANK, "--codebooks", 1)
    assert "'out' contains another run: " in line


def test_ray_without_its_package_is_refused(refused, model, source, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'narrows[ray]'" in refused("tokenize", source, "-m", model, "-o", "out", "--engine", "ray")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_runs_are_resumed(codec, start, model, source, number):
    for part in range(8):  # long enough to be ended before its end
        for file in list(Path(source).glob("?.wav")):
            shutil.copy(file, Path(source, f"{part}-{file.name}"))
    assert codec("tokenize", source, "-m", model, "-o", "expected", *RANK, *MINUTES).code == 0
    arguments = ("tokenize", source, "-m", model, "-o", "out", *MINUTES, "--workers", 1)
    process = start(*arguments)
    deadline = time.monotonic() + 300
    while not list(Path("out").glob("*.parquet")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    assert err.count("\n") == (number != signal.SIGKILL)
    assert "Traceback" not in err
    if number != signal.SIGKILL:
        assert not list(Path("out").glob(".narrows-*"))
    before = {name: one for name, one in digests("out").items() if name.endswith("parquet")}
    assert 0 < len(before) < len(list(Path("expected").glob("*.parquet")))
    assert before.items() <= digests("expected").items()
    assert codec("tokenize", source, "-m", model, "-o", "out", *MINUTES, *RANK).code == 0
    assert digests("out") == digests("expected")
    assert len(keys("out")) == len(list(Path(source).iterdir()))


def test_names_that_are_not_utf_8_fail_at_most_their_item(codec, model, source):
    os.rename(b"source/3.wav", b"source/\xff.wav")
    result = codec("tokenize", source, "-m", model, "-o", "out", *RANK)
    assert len(keys("out")) >= 11, result


def test_workers_import_nothing_from_the_current_folder(model, source, place):
    command = Path(sys.executable).with_name("codec")
    for name in ("narrows", "soundfile"):
        (place / f"{name}.py").write_text(f"open('imported-{name}', 'w')")
    done = subprocess.run(
        [command, "tokenize", source, "-m", model, "-o", "out", "--workers", "1"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(place.glob("imported-*"))


def test_a_background_for_transparent_images(codec, refused, image_checkpoint, image_file, model, source, place):
    from PIL import Image

    image_file("images/a.png")
    Image.new("RGBA", (20, 20), (10, 20, 30, 40)).save(place / "images" / "b.png")
    command = ["tokenize", "images", "-m", image_checkpoint, "-o", "out", *RANK]
    assert codec(*command).code == 2
    assert "--background" in (place / "out" / "00000-of-00001.errors.jsonl").read_text()
    assert "contains another run" in refused(*command, "--background", "white")
    command[command.index("out")] = "flat"
    result = codec(*command, "--background", "white")
    assert (result.code, result.err.count("\n")) == (0, 1)  # the notice of an entropy model
    assert "expected a colour" in refused(*command, "--background", "whiteish")
    assert "expected images for a background" in refused(
        "tokenize", source, "-m", model, "-o", "audio", *RANK, "--background", "white"
    )
