import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import narrows
from narrows import Latents, Tokens
from narrows.checkpoints.load import load as load_model
from narrows.datasets import Task, load
from narrows.datasets.base import DatasetInfo, SourceItem, TokenizedItem
from narrows.datasets.engines.ranks import Rank
from narrows.datasets.exporters import EXPORTERS, export
from narrows.datasets.shards import read_shard, write_shard
from narrows.datasets.sources import list_items
from narrows.datasets.worker import dataset_info, tokenize_items
from narrows.errors import InputError
from narrows.media import audio, video
from narrows.media.extents import VideoExtent
from narrows.tokenizers import VideoTokenizer
from narrows.tokenizers.video_times import attached_times

KEYS = ["a/long", "a/one", "b", "c", "phone"]
TIMES = tuple(Fraction(n, 30) for n in (0, 1, 3, 4, 9, 10, 11))
CLIPS = DatasetInfo("video", "codes", "m", "33" * 8, ((5, 5),), 1, (4, 8, 8), 3)


def run(source: object, model: object, out: Path, **options: Any) -> Any:
    return narrows.tokenize(Task(str(source), str(model), out, **options), Rank(0, 1))


def tokenizer_of(model: object) -> VideoTokenizer:
    found = load_model(str(model))
    assert isinstance(found, VideoTokenizer)
    return found


@pytest.fixture(scope="session")
def tokens(clips: Path, tiny_video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shards of the clips."""
    out = tmp_path_factory.mktemp("video-tokens") / "out"
    summary = run(clips, tiny_video, out)
    assert (summary.medium, summary.items, summary.failures) == ("video", 5, 0)
    assert summary.amount == 21 * 32 * 48 + 9 * 33 * 17 + 6 * 40 * 40 + 7 * 32 * 48
    return out


def test_codes_are_those_of_the_files(clips: Path, tiny_video: Path, tokens: Path) -> None:
    tokenizer, data = tokenizer_of(tiny_video), load(tokens)
    assert sorted(data.keys) == KEYS
    for name in ("a/long.webm", "a/one.mp4", "b.mkv", "c.mp4", "phone.mp4"):
        assert data.by_key(name.rpartition(".")[0]) == tokenizer.encode_file(clips / name)
    assert data.metadata(data.index("a/one")) == {"label": "a"}


def test_columns_of_the_grid_and_of_times(tokens: Path) -> None:
    (path,) = tokens.glob("*.parquet")
    rows = {row["key"]: row for row in pq.read_table(path).to_pylist()}
    row = rows["a/long"]
    assert (row["grid_frames"], row["grid_height"], row["grid_width"]) == (6, 4, 6)
    assert (row["frames"], row["height"], row["width"], row["channels"]) == (20, 32, 48, 3)
    assert (row["rate"], row["rate_base"], row["time_base"], row["times"]) == (30000, 1001, 0, [])
    assert (rows["phone"]["time_base"], rows["phone"]["times"]) == (30, [0, 1, 3, 4, 9, 10, 11])
    codes = np.array(row["codes"]).reshape(6, 4, 6, 1)  # frame by frame, as docs/datasets.md says
    assert np.array_equal(codes[..., 0], load(tokens).by_key("a/long").codes[0, 0])


def test_times_of_a_variable_rate_are_kept(clips: Path, tokens: Path, tiny_video: Path, tmp_path: Path) -> None:
    item = load(tokens).by_key("phone")
    assert attached_times(item) == TIMES
    tokenizer_of(tiny_video).decode_file(item, tmp_path / "phone.mp4")
    assert video.probe(tmp_path / "phone.mp4").times == video.probe(clips / "phone.mp4").times == TIMES


def test_latents_of_a_continuous_model(clips: Path, video_latents: str, tmp_path: Path) -> None:
    run(clips, video_latents, tmp_path / "out")
    data, tokenizer = load(tmp_path / "out"), tokenizer_of(video_latents)
    assert (data.info.kind, data.info.depth) == ("latents", 3)
    item = data.by_key("phone")
    assert isinstance(item, Latents)
    pixels = video.read(clips / "phone.mp4").pixels
    wanted = tokenizer.encode_latents(pixels, 30).values
    assert torch.equal(item.values, wanted.half())
    assert tokenizer.decode_signal(item).times == TIMES


def test_ids_are_frame_by_frame_and_come_back(tokens: Path) -> None:
    item = load(tokens).by_key("a/long")
    assert isinstance(item, Tokens)
    data = load(tokens, ids="raster")
    ids = data.by_key("a/long")
    assert torch.equal(ids, item.flatten("raster"))
    assert torch.equal(ids - 3, item.codes[0, 0].reshape(-1))
    assert torch.equal(ids[24:48] - 3, item.codes[0, 0, 1].reshape(-1))  # the second latent frame
    assert item.unflatten(ids, "raster") == item
    made = data.unflatten(ids[:48], "raster", inner=(4, 6), frame_rate=Fraction(30000, 1001))
    assert made.extent == VideoExtent(5, 32, 48, 3, 30000, 1001)
    assert torch.equal(made.codes, item.codes[:, :, :2])


def test_new_clips_of_ids_are_decoded(tokens: Path, tiny_video: Path) -> None:
    data = load(tokens, ids="raster")
    made = data.unflatten(data.by_key("c"), "raster", inner=(5, 5), frame_rate=Fraction(24))
    assert tokenizer_of(tiny_video).decode(made).shape == (3, 9, 40, 40)
    with pytest.raises(InputError, match="expected a frame rate for video, got None; give frame_rate=25"):
        data.unflatten(data.by_key("c"), "raster", inner=(5, 5))
    with pytest.raises(InputError, match=r"expected inner=2 sizes .* for a clip of frames of 16 × 16: inner=\(16, 16"):
        data.unflatten(data.by_key("c"), "raster", frame_rate=24)


def test_frame_rates_are_for_video(tokenized: Callable[..., Any]) -> None:
    data = load(tokenized(1)[0], ids="interleaved")
    with pytest.raises(InputError, match="expected no frame rate for audio, got 25; leave it out"):
        data.unflatten(data[0], "interleaved", frame_rate=25)


@pytest.mark.parametrize("kind", EXPORTERS)
def test_exports(tokens: Path, tmp_path: Path, kind: str) -> None:
    data = load(tokens)
    if kind == "lhotse":
        with pytest.raises(InputError, match="expected audio for lhotse, got video; export to npy, webdataset or hf"):
            export(data, kind, tmp_path)
        return
    export(data, kind, tmp_path)
    if kind == "hf":
        (path,) = (tmp_path / "data").glob("*.parquet")
        assert [row.key for row in read_shard(path)] == [data.item(index).key for index in range(5)]
        assert read_shard(path).group(0).item(4).times == data.item(4).times
        card = (tmp_path / "README.md").read_text()
        assert "`grid_frames`, `grid_height`, `grid_width` | size of the grid of positions, of 4 × 8 × 8 frames" in card
        assert "`frames`, `height`, `width`, `channels`, `rate`, `rate_base` | size of the clip" in card
    elif kind == "megatron":
        count = sum(item.codes.numel() + 2 for item in data if isinstance(item, Tokens))
        assert (tmp_path / "tokens.bin").stat().st_size == 2 * count
    else:
        found = facts(tmp_path, kind)
        assert found["phone"]["times"] == ["0", "1/30", "1/10", "2/15", "3/10", "1/3", "11/30"]
        assert "times" not in found["c"]


def facts(folder: Path, kind: str) -> dict[str, Any]:
    if kind == "npy":
        lines = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
        assert np.load(folder / lines[0]["file"]).shape == (1, 1, 6, 4, 6)
        return {line["key"]: line for line in lines}
    (path,) = folder.glob("*.tar")
    with tarfile.open(path) as tar:
        texts = [json.load(tar.extractfile(member)) for member in tar if member.name.endswith(".json")]  # type: ignore[arg-type]
    return {text["key"]: text for text in texts}


def test_tars_with_sound_beside_the_clips(clips: Path, tiny_video: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    wave = io.BytesIO()
    audio.write(wave, np.zeros((1, 800), np.float32), 8000, format="wav")
    with tarfile.open(tmp_path / "in" / "clips.tar", "w") as tar:
        for number, name in enumerate(("c.mp4", "phone.mp4")):
            content = {"wav": wave.getvalue(), "mp4": (clips / name).read_bytes(), "json": b'{"caption": "a wave"}'}
            for suffix, data in content.items():
                member = tarfile.TarInfo(f"{number:04d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    summary = run(tmp_path / "in", tiny_video, tmp_path / "out")
    assert (summary.items, summary.failures) == (2, 0)
    data = load(tmp_path / "out", with_meta=True)
    assert [(item.key, item.meta) for item in data] == [(f"000{n}", {"caption": "a wave"}) for n in range(2)]
    assert data[0].value == tokenizer_of(tiny_video).encode_file(clips / "c.mp4")


@pytest.mark.parametrize("struct", [False, True])
def test_parquet_with_bytes(clips: Path, tiny_video: Path, tmp_path: Path, struct: bool) -> None:
    content = [(clips / name).read_bytes() for name in ("c.mp4", "b.mkv")]
    column = [{"bytes": data, "path": None} for data in content] if struct else content
    pq.write_table(pa.table({"id": ["x", "y"], "video": column, "stars": [1, 5]}), tmp_path / "clips.parquet")
    run(tmp_path / "clips.parquet", tiny_video, tmp_path / "out")
    data = load(tmp_path / "out", with_meta=True)
    assert [(item.key, item.meta["stars"]) for item in data] == [("x", 1), ("y", 5)]
    assert data[1].value == tokenizer_of(tiny_video).encode_file(clips / "b.mkv")


def test_a_manifest(clips: Path, tiny_video: Path, tmp_path: Path) -> None:
    shutil.copytree(clips, tmp_path / "in")
    (tmp_path / "in" / "list.csv").write_text("video,caption\nc.mp4,a wave\na/one.mp4,a picture\n")
    run(tmp_path / "in" / "list.csv", tiny_video, tmp_path / "out")
    assert [load(tmp_path / "out", with_meta=True, order="source")[n].meta for n in (0, 1)] == [
        {"caption": "a wave"},
        {"caption": "a picture"},
    ]


def test_clips_that_break_are_failures_and_others_are_kept(clips: Path, tiny_video: Path, tmp_path: Path) -> None:
    place = tmp_path / "in"
    shutil.copytree(clips, place)
    (place / "d.avi").write_bytes(np.random.default_rng(0).bytes(5000))
    (place / "e.mp4").write_bytes(b"")
    broken = bytearray((clips / "b.mkv").read_bytes())
    broken[len(broken) * 2 // 3 :] = bytes(len(broken) - len(broken) * 2 // 3)
    (place / "f.mkv").write_bytes(broken)
    (place / "g.mp4").write_bytes((clips / "c.mp4").read_bytes()[:-100])
    with pytest.raises(narrows.errors.MediaError):
        video.read(place / "f.mkv")
    summary = run(place, tiny_video, tmp_path / "out")
    assert (summary.items, summary.failures) == (5, 4)
    reasons = {key: reason.reason for reason in summary.reasons for key in reason.keys}
    assert sorted(reasons) == ["d", "e", "f", "g"]
    assert "which cannot be decoded" in reasons["d"]
    assert "damaged or cut somewhere after" in reasons["f"]
    assert sorted(load(tmp_path / "out").keys) == KEYS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 64}, "expected images for a size, got video for tiny-video; leave it out"),
        ({"background": "white"}, "expected images for a background, got video for tiny-video; leave it out"),
        ({"quality": 3}, "quality"),
    ],
)
def test_options_of_other_media_are_refused(
    clips: Path, tiny_video: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(clips, tiny_video, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_frames_are_read_a_few_at_a_time(tiny_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video.write(tmp_path / "a.mkv", (np.full((3, 16, 16), n % 256, np.uint8) for n in range(100)), 25)
    read = 0
    frames = video.VideoReader.frames

    def counted(self: video.VideoReader, *arguments: Any) -> Any:
        nonlocal read
        for frame in frames(self, *arguments):
            read += 1
            yield frame

    monkeypatch.setattr(video.VideoReader, "frames", counted)
    tokenizer, ahead = tokenizer_of(tiny_video), list[int]()
    encode = tokenizer.encode_frames

    def watched(source: Any, *arguments: Any, **settings: Any) -> Tokens:
        def passed() -> Any:
            for number, frame in enumerate(source):
                ahead.append(read - number)
                yield frame

        return encode(passed(), *arguments, **settings)

    monkeypatch.setattr(tokenizer, "encode_frames", watched)
    items = list_items(str(tmp_path / "a.mkv"), "video")
    ((row,), failures) = tokenize_items(items, tokenizer.batch_encoder(), 1)
    assert not failures
    assert row.values.shape == (1, 1, 26, 2, 2)
    assert row.values.dtype == np.int16
    assert len(ahead) == 100
    assert max(ahead) <= 8


def test_large_frames_of_an_entropy_model_are_failures(
    clips: Path, tiny_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tokenizer_of(tiny_video)

    def refused(extent: VideoExtent) -> None:
        if extent.height > 32:
            raise InputError("expected smaller frames")

    monkeypatch.setattr(tokenizer, "check_extent", refused)
    rows, failures = tokenize_items(list_items(str(clips), "video"), tokenizer.batch_encoder(), 2)
    assert [row.key for row in rows] == ["a/long", "a/one", "phone"]
    assert [failure.reason for failure in failures] == ["expected smaller frames"] * 2


def clip_item(**changes: Any) -> TokenizedItem:
    codes = np.zeros((1, 1, 2, 2, 3), np.int16)
    return replace(TokenizedItem("a", codes, VideoExtent(4, 16, 20, 3, 25, 1)), **changes)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ((Fraction(0),), "expected 4 times for 'a', one per frame, got 1"),
        (tuple(map(Fraction, (1, 2, 3, 4))), "begin at 0"),
        (tuple(map(Fraction, (0, 2, 2, 4))), "increase"),
    ],
)
def test_times_that_do_not_fit_are_refused(tmp_path: Path, times: tuple[Fraction, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_shard(tmp_path / "00000-of-00001.parquet", [clip_item(times=times)], CLIPS)


def test_shards_of_video_come_back(tmp_path: Path) -> None:
    items = [clip_item(), clip_item(key="b", times=tuple(Fraction(n, 7) for n in (0, 2, 3, 11)))]
    write_shard(tmp_path / "00000-of-00001.parquet", items, CLIPS)
    found = list(read_shard(tmp_path / "00000-of-00001.parquet"))
    assert [(item.key, item.extent, item.times) for item in found] == [(i.key, i.extent, i.times) for i in items]


def test_the_source_of_items_is_the_medium_of_the_model(clips: Path) -> None:
    assert [item.key for item in list_items(str(clips), "video")] == KEYS
    assert isinstance(list_items(str(clips), "video")[0], SourceItem)


def test_what_a_data_set_of_video_has_in_common(tiny_video: Path) -> None:
    info = dataset_info(tokenizer_of(tiny_video), {})
    assert (info.medium, info.kind, info.depth, info.strides, info.channels) == ("video", "codes", 1, (4, 8, 8), 3)
    assert (info.sample_rate, info.quality_index) == (None, None)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_a_killed_run_is_resumed_with_the_same_bytes(
    tiny_video: Path, tmp_path: Path, digests: Callable[[Path], dict[str, str]]
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(10):
        pixels = np.random.default_rng(number).integers(256, size=(8 + number, 3, 16, 24), dtype=np.uint8)
        video.write(tmp_path / "in" / f"{number}.mp4", pixels, 25)
    run(tmp_path / "in", tiny_video, tmp_path / "expected", minutes=0.004)
    options = ["-m", tiny_video, "--workers", "2", "--shard-minutes", "0.004", "-o", tmp_path / "out"]
    command = [sys.executable, "-c", "from narrows.cli import main; main()", "tokenize", tmp_path / "in", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and not list((tmp_path / "out").glob("*.parquet")):
        time.sleep(0.002)
    with suppress(ProcessLookupError):  # it may have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert run(tmp_path / "in", tiny_video, tmp_path / "out", minutes=0.004).skipped > 0
    assert digests(tmp_path / "out") == digests(tmp_path / "expected")
    assert len(digests(tmp_path / "out")) == 6
