"""Clips from files to results and the report: encoders, a model, the cache, limits of time and memory."""

from fractions import Fraction

import numpy as np
import pytest

import narrows
from narrows.errors import InputError, MediaError, NarrowsError
from narrows.evaluation import references
from narrows.evaluation.bands import image_distortion_by_band, video_distortion_by_band
from narrows.evaluation.by_medium import EVALUATIONS
from narrows.evaluation.excerpts import clip_excerpt, pack_clip, unpack_clip
from narrows.evaluation.items import find_items
from narrows.evaluation.measurement import MeasurementCache, measure_item
from narrows.evaluation.models import ModelPoint
from narrows.evaluation.points import operating_points
from narrows.evaluation.references import read_clip
from narrows.evaluation.speed import measure_speed
from narrows.media import video
from narrows.media.image import Image
from narrows.media.table import MEDIA
from narrows.media.video import Sound, Video


def frames(count, height=32, width=64, seed=0):
    wide = np.random.default_rng(seed).normal(0, 6, (3, height, width + count)).cumsum(2).cumsum(1) / 4 + 128
    return [wide[:, :, place : place + width].clip(0, 255).astype(np.uint8) for place in range(count)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder with two clips, one with sound and odd sides, and a text."""
    folder = tmp_path_factory.mktemp("clips")
    video.write(folder / "a.mp4", frames(20), 25)
    tone = np.float32(0.1 * np.sin(np.arange(16_000) / 10))[None]
    video.write(folder / "b.mkv", frames(9, 33, 65, seed=1), 10, sound=Sound([tone], 16_000, 1))
    (folder / "notes.txt").write_text("no clip")
    return folder


@pytest.fixture
def model(tiny_video):
    return tiny_video


def evaluate(models, clips, out, **options):
    return narrows.evaluate(models, [clips], out, **{"speed": False, "samples": 0, **options})


def test_model_beside_encoders(model, clips, tmp_path):
    results = evaluate([str(model), "x264@28,40", "svt-av1@40"], clips, tmp_path, samples=2)
    assert (results.medium, results.rate_unit) == ("video", "bits per pixel")
    assert results.items == ["a.mp4", "b.mkv"]
    assert [metric.name for metric in results.metrics] == ["psnr", "ssim", "ms-ssim", "flicker", "worst-frame-psnr"]
    summaries = {summary.point.name: summary for summary in results.summaries()}
    assert list(summaries) == ["svt-av1@40", str(model), "x264@28", "x264@40"] or len(summaries) == 4
    for summary in summaries.values():
        assert summary.failed == {"coding": 0, "psnr": 0, "ssim": 0, "ms-ssim": 2, "flicker": 0, "worst-frame-psnr": 0}
    assert summaries["x264@28"].metrics["psnr"].mean > summaries["x264@40"].metrics["psnr"].mean + 2
    assert summaries["x264@28"].metrics["flicker"].mean < summaries["x264@40"].metrics["flicker"].mean
    rows = {(row.item, row.point): row for row in results.item_results}
    row = rows["a.mp4", "x264@28"]
    assert row.amount == 20 * 32 * 64
    assert results.rate(row) == 8 * row.file_bytes / row.amount
    assert row.metrics["worst-frame-psnr"] < row.metrics["psnr"]
    assert rows["b.mkv", str(model)].amount == 9 * 33 * 65
    assert summaries[str(model)].perplexity > 1
    page = (tmp_path / "index.html").read_text()
    assert page.count("<video ") == 2 * 5
    assert page.count("data:video/mp4;base64,") == 2 * 5
    assert '<h2 id="media">Watch</h2>' in page
    assert evaluate(["x264@28,40"], clips, tmp_path, samples=2).item_results == tuple(
        row for row in results.item_results if row.point.startswith("x264")
    )


def test_bytes_of_a_model_are_those_of_its_file(model, clips, tmp_path):
    (item, _) = find_items([clips], MEDIA["video"])
    point = ModelPoint(str(model))
    found = measure_item(item, point, ["psnr"], False, None)
    stream = point.encode(read_clip(item.path), tmp_path)
    assert found.result.file_bytes == stream.stat().st_size
    assert found.codes is not None
    assert found.codes.shape == (1, 6 * 4 * 8)


def test_bit_flips(model, clips, tmp_path):
    results = evaluate([str(model)], clips, tmp_path, bit_flips=[0.1], metrics=["psnr"])
    assert len(results.item_results) == 2
    assert len(list((tmp_path / "bit-flips").glob("*/results.json"))) == 1


def test_bd_rate_of_curves(clips, tmp_path):
    from narrows.evaluation.comparison import family_bd_rate

    settings = "20,26,32,38"
    results = evaluate([f"x264@{settings}", f"x265@{settings}"], clips, tmp_path, metrics=["psnr"])
    delta = family_bd_rate(results.metrics[0], (results, "x264"), (results, "x265"))
    assert not isinstance(delta, str)
    assert -90 < delta.change < 200


def test_only_the_first_seconds(clips, tmp_path):
    whole = evaluate(["x264@28"], clips, tmp_path, metrics=["psnr"])
    part = evaluate(["x264@28"], clips, tmp_path, metrics=["psnr"], max_seconds=0.3)
    assert [row.amount for row in part.item_results] == [8 * 32 * 64, 3 * 33 * 65]
    assert part.setup["data"].endswith(", the first 0.3 s of each")
    again = evaluate(["x264@28"], clips, tmp_path, metrics=["psnr"])  # another entry of the cache
    assert again.item_results == whole.item_results


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_lengths_out_of_range(clips, tmp_path, seconds):
    with pytest.raises(InputError, match="expected --max-seconds above 0"):
        evaluate(["x264@28"], clips, tmp_path, max_seconds=seconds)


def test_images_have_no_seconds(clips, tmp_path):
    with pytest.raises(InputError, match="expected no --max-seconds for images, got 3; leave it out"):
        evaluate(["jpeg@28"], clips, tmp_path, max_seconds=3.0)


def test_seconds_of_audio(tmp_path, clips):
    """A recording, and the sound of a clip."""
    (tmp_path / "a.mkv").write_bytes((clips / "b.mkv").read_bytes())
    results = evaluate(["flac"], tmp_path / "a.mkv", tmp_path / "out", metrics=["mel-distance"], max_seconds=0.5)
    assert results.medium == "audio"
    assert [row.amount for row in results.item_results] == [0.5]


def test_frame_counts_and_times(tmp_path):
    times = [Fraction(k * k, 100) for k in range(8)]
    video.write(tmp_path / "v.mp4", frames(8), times=times)
    assert read_clip(tmp_path / "v.mp4").times == tuple(times)
    part = read_clip(tmp_path / "v.mp4", 0.1)
    assert part.times == tuple(times[:4])  # at 0, 0.01, 0.04 and 0.09 s
    assert np.array_equal(part.pixels, read_clip(tmp_path / "v.mp4").pixels[:, :4])
    assert read_clip(tmp_path / "v.mp4", 1e-6).pixels.shape[1] == 1


def test_large_clips_are_refused_before_they_are_read(clips, monkeypatch):
    monkeypatch.setattr(references, "MAX_CLIP", 12 * 3 * 32 * 64)
    message = r"got '.*a\.mp4' with 20 frames of 64 × 32; evaluate its beginning, with --max-seconds up to 0\.48"
    with pytest.raises(MediaError, match=message):
        read_clip(clips / "a.mp4")
    assert read_clip(clips / "a.mp4", 0.48).pixels.shape[1] == 12


def test_damaged_clips_are_reported(clips, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    whole = (clips / "b.mkv").read_bytes()
    (data / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    (data / "a.mp4").write_bytes((clips / "a.mp4").read_bytes())
    results = evaluate(["x264@28"], data, tmp_path / "out", metrics=["psnr"])
    assert list(results.unreadable) == ["cut.mkv"]
    assert [row.item for row in results.item_results] == ["a.mp4"]


def test_clips_of_another_size_are_failures(clips, monkeypatch, tmp_path):
    from narrows.evaluation.baselines.video import VideoBaseline

    decode = VideoBaseline.decode
    monkeypatch.setattr(VideoBaseline, "decode", lambda self, path: Video(decode(self, path).pixels[:, 1:], 1))
    (item, _) = find_items([clips], MEDIA["video"])
    found = measure_item(item, operating_points(["x264@28"])[0], ["psnr"], False, None).result
    expected = r"expected video of shape (3, 20, 32, 64) as in the reference, got video of shape (3, 19, 32, 64)"
    assert found.failures["coding"] == expected


def test_excerpts_for_the_report(clips):
    clip = Video(np.stack(frames(40, 33, 47), 1)[:1].repeat(3, 0), Fraction(10))  # grey: chroma has half the size
    shown = clip_excerpt(clip)
    assert shown.pixels.shape == (3, 30, 33, 47)  # 3 seconds
    restored = unpack_clip(pack_clip(clip), shown)
    assert restored.array.shape == shown.array.shape
    assert np.abs(restored.array.astype(int) - shown.array).mean() < 2
    large = Video(np.zeros((3, 4, 2048, 3072), np.uint8), Fraction(25))
    assert clip_excerpt(large).pixels.shape[1] == 3  # of 18 MiB


def test_cache_keeps_excerpts(clips, tmp_path):
    item = find_items([clips], MEDIA["video"])[0]
    point, cache = operating_points(["x264@28"])[0], MeasurementCache(tmp_path)
    measured = measure_item(item, point, ["psnr"], True, None)
    cache.store(item, point, measured)
    found = cache.load(item, point)
    assert np.array_equal(found.arrays["decoded"], measured.arrays["decoded"])
    assert found.arrays["decoded"].ndim == 1


def test_bands_are_sums_over_frames():
    x, y = (Video(np.stack(frames(2, seed=seed), 1), Fraction(25)) for seed in (0, 1))
    found = video_distortion_by_band(x, y)
    parts = [image_distortion_by_band(*(Image(z.pixels[:, t].copy()) for z in (x, y))) for t in (0, 1)]
    assert found == parts[0] + parts[1]


def test_speed(clips, model):
    for point in (ModelPoint(str(model)), operating_points(["x264@28"])[0]):
        speed = measure_speed(point, [clips / "a.mp4"], 1, seconds=0.2)
        assert 0 < speed.encode < 1e4  # megapixels/s
        assert speed.peak_mib > 30
    assert EVALUATIONS["video"].medium.speed(2e6, 0.5) == 4


def test_media_are_not_mixed(clips, tmp_path, model):
    with pytest.raises(InputError, match=r"one medium, got x265-intra@30 \(image\) and x265@30 \(video\)"):
        evaluate(["x265-intra@30", "x265@30"], clips, tmp_path)
    with pytest.raises(NarrowsError, match="expected metrics of video, got estoi of audio"):
        evaluate([str(model)], clips, tmp_path, metrics=["estoi"])


def test_audio_of_a_folder_of_clips(clips, tmp_path):
    """The medium of the codecs decides what is read of an .mp4 or .mkv."""
    results = evaluate(["flac"], clips, tmp_path, metrics=["mel-distance"])
    assert [row.item for row in results.item_results] == ["b.mkv"]
    assert [*results.unreadable] == ["a.mp4"]  # without sound
