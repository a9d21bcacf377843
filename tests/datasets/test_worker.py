import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from narrows.bitstream import AudioExtent, ImageExtent
from narrows.checkpoints.load import load
from narrows.datasets.base import Failure, Location, Shard, SourceItem, TokenizedItem
from narrows.datasets.shards import read_shard
from narrows.datasets.sources import list_items
from narrows.datasets.worker import Job, Worker, dataset_info, tokenize_items
from narrows.errors import InputError, MediaError, WrongModel
from narrows.media import image
from narrows.tokenizers.audio import AudioBatchEncoder, AudioTokenizer
from narrows.tokenizers.image import ImageTokenizer


def audio(model: str) -> AudioTokenizer:
    tokenizer = load(model)
    assert isinstance(tokenizer, AudioTokenizer)
    return tokenizer


def image_tokenizer(model: str) -> ImageTokenizer:
    tokenizer = load(model)
    assert isinstance(tokenizer, ImageTokenizer)
    return tokenizer


def job(model: str, out: Path) -> Job:
    return Job(model, dataset_info(load(model), {}), out)


def whole(source: Path, medium: str) -> Shard:
    return Shard(0, 1, list_items(str(source), medium))


@pytest.mark.parametrize("codebooks", [None, 2])
def test_codes_of_recordings_are_those_of_their_files(model: str, recordings: Path, codebooks: int | None) -> None:
    tokenizer, shard = audio(model), whole(recordings, "audio")
    rows, failures = tokenize_items(shard.items, tokenizer.batch_encoder(1, codebooks=codebooks), 2)
    assert [row.key for row in rows] == [item.key for item in shard.items]
    assert not failures
    for row, item in zip(rows, shard.items, strict=True):
        tokens = tokenizer.encode_file(item.location.path, codebooks=codebooks)
        assert np.array_equal(row.values, tokens.codes.numpy())
        assert row.extent == tokens.extent


@pytest.mark.parametrize("batch", [2, 5])
def test_batches_change_no_more_than_ties(model: str, recordings: Path, batch: int) -> None:
    tokenizer, shard = audio(model), whole(recordings, "audio")
    encoding = tokenizer.batch_encoder(batch)
    shapes = set[tuple[int, ...]]()
    handle = tokenizer.codec.encoder.register_forward_pre_hook(  # type: ignore[attr-defined]
        lambda _, given: shapes.add(tuple(given[0].shape))
    )
    rows, _ = tokenize_items(shard.items, encoding, 2)
    handle.remove()
    (reach,) = tokenizer.codec.encoder.reach
    assert reach is not None
    assert (batch, 1, 8 * max(reach) * tokenizer.codec.stride[0]) in shapes
    assert encoding.seconds > 0
    of_files = [tokenizer.encode_file(item.location.path).codes.numpy() for item in shard.items]
    different = sum(int((row.values != codes).sum()) for row, codes in zip(rows, of_files, strict=True))
    assert different <= sum(codes.size for codes in of_files) // 1000


@pytest.mark.parametrize("batch", [1, 2])
def test_codes_of_images_are_those_of_their_files(image_models: dict[str, str], images: Path, batch: int) -> None:
    tokenizer, shard = image_tokenizer(image_models["codes"]), whole(images, "image")
    rows, failures = tokenize_items(shard.items, tokenizer.batch_encoder(batch), 2)
    assert (len(rows), failures) == (5, [])
    for row, item in zip(rows, shard.items, strict=True):
        tokens = tokenizer.encode_file(item.location.path)
        assert row.extent == tokens.extent
        assert (row.values != tokens.codes.numpy()).sum() <= (batch - 1) * row.values.size // 100


def test_image_latents(image_models: dict[str, str], images: Path) -> None:
    tokenizer, shard = image_tokenizer(image_models["latents"]), whole(images, "image")
    made = dataset_info(tokenizer, {})
    assert (made.kind, made.radices, made.depth) == ("latents", (), 4)
    rows, _ = tokenize_items(shard.items, tokenizer.batch_encoder(2, latents=True), 1)
    for row, item in zip(rows, shard.items, strict=True):
        y = tokenizer.encode_latents(image.read(item.location.path).pixels).values
        assert row.values.dtype == np.float16
        assert np.array_equal(row.values, y.numpy().astype(np.float16))
        height, width = image.read(item.location.path).extent.size
        assert (row.extent.height, row.extent.width) == (height, width)  # type: ignore[union-attr]


@pytest.mark.parametrize("batch", [1, 2])
def test_audio_latents(continuous: AudioTokenizer, recordings: Path, batch: int) -> None:
    made, shard = dataset_info(continuous, {}), whole(recordings, "audio")
    assert (made.medium, made.kind, made.radices, made.depth, made.sample_rate) == ("audio", "latents", (), 4, 16_000)
    rows, _ = tokenize_items(shard.items, continuous.batch_encoder(batch, latents=True), 1)
    for row, item in zip(rows, shard.items, strict=True):
        x, rate = soundfile.read(item.location.path, dtype="float32", always_2d=True)
        y = continuous.encode_latents(x.T, rate).values.numpy()
        assert row.values.dtype == np.float16
        np.testing.assert_allclose(row.values, y.astype(np.float16), atol=0 if batch == 1 else 2e-3)
        assert row.extent == AudioExtent(rate, len(x), x.shape[1])


def test_unreadable_items_are_failures_and_others_are_kept(
    model: str, recordings: Path, tmp_path: Path, digests: Callable[[Path], dict[str, str]]
) -> None:
    source = shutil.copytree(recordings, tmp_path / "source")
    (source / "d0" / "r0.wav").write_bytes(b"not audio" * 50)
    (source / "d0" / "r4.wav").write_bytes((source / "d0" / "r4.wav").read_bytes()[:200_000])
    soundfile.write(source / "d1" / "r1.wav", [0.1, np.nan, 0.1], 16_000, "FLOAT")
    soundfile.write(source / "d1" / "r3.wav", np.zeros((5, 65)), 16_000)
    x = 0.1 * np.ones(300_000, np.float32)
    x[290_000] = np.inf
    soundfile.write(source / "late.wav", x, 16_000, "FLOAT")  # found when a window is coded already
    shard = whole(source, "audio")
    task = job(model, tmp_path)
    done = Worker(task)(shard)
    assert (done.items, done.failures) == (5, 5)
    lines = [json.loads(line) for line in task.errors(shard).read_text().splitlines()]
    reasons = {failure["key"]: failure["reason"] for failure in lines}
    assert [failure["key"] for failure in lines] == sorted(reasons)
    for key, message in {
        "d0/r0": "cannot be decoded",
        "d0/r4": "is cut",
        "d1/r1": "got NaN at sample 1",
        "d1/r3": "got 65",
        "late": "got infinity at sample 290000",
    }.items():
        assert message in reasons[key]
        assert "\n" not in reasons[key]
    rows, failures = tokenize_items(shard.items, load(model).batch_encoder(), 1)
    assert [failure.key for failure in failures] == [item.key for item in shard.items if item.key in reasons]
    for row in rows:
        assert np.array_equal(row.values, audio(model).encode_file(source / f"{row.key}.wav").codes.numpy())


def test_decompression_bombs_and_images_too_large_are_failures(
    image_models: dict[str, str], images: Path, tmp_path: Path, bomb: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shutil.copytree(images, tmp_path / "source")
    (source / "p0.png").write_bytes(bomb)
    tokenizer = image_tokenizer(image_models["codes"])

    def refuse(extent: ImageExtent) -> tuple[int, int]:
        if extent.width == 17:
            raise InputError("too large")
        return grid(extent)

    grid = tokenizer.grid
    monkeypatch.setattr(tokenizer, "grid", refuse)
    shard = whole(source, "image")
    rows, failures = tokenize_items(shard.items, tokenizer.batch_encoder(), 2)
    assert [row.key for row in rows] == ["p2", "p3", "p4"]
    assert failures[1] == Failure("p1", "too large")
    assert "too large" in failures[0].reason or "pixels" in failures[0].reason


def test_a_full_disk_stops_the_shard(
    model: str, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    worker = Worker(job(model, tmp_path))
    monkeypatch.setattr("narrows.media.atomic.os.fsync", full)
    with pytest.raises(MediaError, match=r"no space left on device.*free some space"):
        worker(whole(recordings, "audio"))
    assert not list(tmp_path.iterdir())


def test_metadata_is_copied(model: str, recordings: Path) -> None:
    path = str(recordings / "d0" / "r0.wav")
    shard = Shard(0, 1, [SourceItem("x", Location(path), {"speaker": "a", "age": 3})])
    rows: list[TokenizedItem] = tokenize_items(shard.items, load(model).batch_encoder(), 1)[0]
    assert rows[0].meta == {"speaker": "a", "age": 3}


def test_no_error_file_without_failures(model: str, recordings: Path, tmp_path: Path) -> None:
    task, shard = job(model, tmp_path), whole(recordings, "audio")
    task.errors(shard).write_text("old")
    Worker(task)(shard)
    assert [path.name for path in tmp_path.iterdir()] == ["00000-of-00001.parquet"]


def test_files_are_the_same_one_by_one(
    model: str, recordings: Path, tmp_path: Path, digests: Callable[[Path], dict[str, str]]
) -> None:
    shard = whole(recordings, "audio")
    careful = replace(shard, one_by_one=True)
    for name, given in {"a": shard, "b": careful, "c": replace(careful, skipped={1: "why"})}.items():
        (tmp_path / name).mkdir()
        Worker(job(model, tmp_path / name))(given)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert (len(read_shard(tmp_path / "c" / "00000-of-00001.parquet")), len(shard.items)) == (8, 9)
    (line,) = (tmp_path / "c" / "00000-of-00001.errors.jsonl").read_text().splitlines()
    assert json.loads(line) == {"key": shard.items[1].key, "reason": "why"}
    assert not list((tmp_path / "c").glob(".narrows-*"))


def test_the_current_item_is_recorded(
    model: str, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard, work = replace(whole(recordings, "audio"), one_by_one=True), job(model, tmp_path)
    assert work.current_item(shard) is None

    def add(self: AudioBatchEncoder, pieces: object) -> object:
        taken.append(pieces)
        if len(taken) == 5:
            noted.append(work.current_item(shard))
            raise SystemExit
        return honest(self, pieces)  # type: ignore[arg-type]

    honest, taken, noted = AudioBatchEncoder.add, list[object](), list[int | None]()
    monkeypatch.setattr(AudioBatchEncoder, "add", add)
    with pytest.raises(SystemExit):
        Worker(work)(shard)
    assert noted == [4]
    assert work.current_item(shard) is None


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_items_without_enough_memory_are_failures_and_others_are_kept(
    model: str, recordings: Path, tmp_path: Path, error: Exception
) -> None:
    def narrow(_: object, given: tuple[torch.Tensor, ...]) -> None:
        if given[0].shape[0] == 3:  # channels of one recording
            raise error

    worker, shard = Worker(job(model, tmp_path)), whole(recordings, "audio")
    worker.tokenizer.codec.encoder.register_forward_pre_hook(narrow)  # type: ignore[attr-defined]
    assert (worker(shard).items, worker(shard).failures) == (8, 1)
    (line,) = (tmp_path / "00000-of-00001.errors.jsonl").read_text().splitlines()
    assert "not enough memory" in line


def test_other_weights_are_refused(model: str, tiny_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    made = dataset_info(load(tiny_checkpoint("tiny", 1)), {})
    with pytest.raises(WrongModel):
        Worker(Job(model, made, tmp_path))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("audio", {"quality": 4.0}, "got quality=4"),
        ("audio", {"codebooks": 9}, "expected codebooks of 1, 2, 3"),
        ("codes", {"quality": 4.0}, "got quality=4"),
        ("latents", {"codebooks": 1}, "got codebooks=1"),
    ],
)
def test_unsupported_settings_are_refused(
    model: str, image_models: dict[str, str], name: str, settings: dict[str, float | None], message: str
) -> None:
    tokenizer = load(image_models.get(name, model))
    with pytest.raises(InputError, match=message):
        dataset_info(tokenizer, settings)


def test_transparent_images_need_a_background(image_models: dict[str, str], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 20), np.uint8)
    signal = image.Image(pixels, np.random.default_rng(1).integers(0, 256, (20, 20), np.uint8))
    image.write(tmp_path / "a.png", pixels, alpha=signal.alpha)
    image.write(tmp_path / "b.png", pixels)
    tokenizer, shard = image_tokenizer(image_models["codes"]), whole(tmp_path, "image")
    rows, failures = tokenize_items(shard.items, tokenizer.batch_encoder(), 1)
    assert [row.key for row in rows] == ["b"]
    assert "--background" in failures[0].reason
    rows, failures = tokenize_items(shard.items, tokenizer.batch_encoder(background="white"), 1)
    assert not failures
    assert np.array_equal(rows[0].values, tokenizer.encode(signal.flattened("white").pixels).codes.numpy())
