import inspect
import io
import os
from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from narrows.errors import InputError
from narrows.media import audio, image, video
from narrows.media.extents import AudioExtent, ImageExtent, VideoExtent
from narrows.media.medium import Medium
from narrows.media.table import MEDIA, SUFFIXES, medium_named, medium_of

every_medium = pytest.mark.parametrize("medium", MEDIA.values(), ids=MEDIA)


@pytest.fixture
def signals(noise):
    """A small signal of each medium."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 9, 14), np.uint8)
    clip = np.full((3, 5, 16, 32), 128, np.uint8)
    return {"audio": audio.Audio(noise, 24_000), "image": image.Image(pixels), "video": video.Video(clip, Fraction(25))}


def test_names():
    assert {name: medium.name for name, medium in MEDIA.items()} == {name: name for name in ("audio", "image", "video")}
    assert all(medium_named(name) is medium for name, medium in MEDIA.items())
    assert [medium.extent for medium in MEDIA.values()] == [AudioExtent, ImageExtent, VideoExtent]
    assert all(medium.extent.medium == name for name, medium in MEDIA.items())


def test_an_unknown_name_is_an_error():
    with pytest.raises(InputError, match="expected one of the media audio, image, video, got 'smell'"):
        medium_named("smell")


def test_only_containers_of_sound_and_frames_belong_to_two_media():
    """Such a file is a video if it has frames."""
    counts = Counter(suffix for medium in MEDIA.values() for suffix in medium.suffixes)
    shared = {suffix for suffix, count in counts.items() if count > 1}
    assert shared <= MEDIA["audio"].suffixes & MEDIA["video"].suffixes
    assert counts.keys() == SUFFIXES
    assert {".mp4", ".mov", ".mkv", ".webm"} <= shared


@every_medium
def test_suffixes_are_in_lower_case_with_a_dot(medium: Medium):
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in medium.suffixes)
    assert medium.default_suffix in medium.suffixes


@every_medium
def test_the_medium_of_a_path_follows_from_its_suffix(medium: Medium):
    shared = MEDIA["audio"].suffixes & MEDIA["video"].suffixes
    for suffix in medium.suffixes:
        for path in (f"folder/a{suffix}", f"a.b{suffix.upper()}"):
            assert medium.has_suffix(path)
            assert medium_of(path) is (MEDIA["audio"] if suffix in shared else medium)  # there is no such file
    assert medium_of("a.unknown") is medium_of("a") is MEDIA["audio"]


def test_a_file_of_a_shared_suffix_is_video_if_it_has_frames(tmp_path: Path):
    frames = [np.zeros((3, 16, 16), np.uint8)] * 3
    samples = np.zeros((1, 4_000), np.float32)
    for suffix in ("mp4", "mov", "mkv", "webm"):
        video.write(tmp_path / f"clip.{suffix}", frames, 10, sound=video.Sound([samples], 8_000, 1))
        assert medium_of(tmp_path / f"clip.{suffix}") is MEDIA["video"]
    with av.open(str(tmp_path / "song.mp4"), "w") as file:
        sound, cover = file.add_stream("aac", rate=8_000, layout="mono"), file.add_stream("mjpeg", rate=1)
        cover.codec_context.width = cover.codec_context.height = 16
        cover.codec_context.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture, part = av.VideoFrame(16, 16, "yuvj420p"), av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        picture.pts, part.sample_rate = 0, 8_000
        for packet in [*cover.encode(picture), *cover.encode(None), *sound.encode(part), *sound.encode(None)]:
            file.mux(packet)
    (tmp_path / "text.mp4").write_text("no medium")
    (tmp_path / "empty.mkv").touch()
    os.mkfifo(tmp_path / "pipe.mov")
    for name in ("song.mp4", "text.mp4", "empty.mkv", "pipe.mov", "missing.webm"):
        assert medium_of(tmp_path / name) is MEDIA["audio"]


@every_medium
def test_units(medium: Medium):
    assert medium.rate(1000, 2) == 4000 / medium.rate_divisor
    assert medium.speed(6e6, 3) == 2e6 / medium.speed_divisor
    assert medium.speed(1, 0) < float("inf")
    for name in (
        "rate_divisor",
        "speed_divisor",
        "total_divisor",
        "amount_per_minute",
        "amount_per_byte",
        "min_amount",
    ):
        assert getattr(medium, name) > 0
    for name in ("files", "default_model", "rate_unit", "rate_key", "speed_unit", "total_unit", "amount_unit"):
        assert getattr(medium, name)


@every_medium
def test_what_is_written_is_opened_measured_and_read(tmp_path, signals, medium: Medium):
    signal, path = signals[medium.name], tmp_path / f"a{medium.default_suffix}"
    medium.write(path, signal, False)
    with medium.open(path) as reader:
        assert reader.info.warnings == ()
    assert medium.amount_of(path) == signal.amount
    found = medium.read(path)
    assert type(found) is type(signal)
    assert found.extent == signal.extent
    assert found.array.dtype == signal.array.dtype
    assert np.allclose(found.array, signal.array, atol=2**-15)


@every_medium
def test_a_file_is_replaced_only_if_that_is_allowed(tmp_path, signals, error_message, medium: Medium):
    path = tmp_path / f"a{medium.default_suffix}"
    path.write_bytes(b"old")
    assert "overwrite=True" in error_message(medium.write, path, signals[medium.name], False)
    assert path.read_bytes() == b"old"
    medium.write(path, signals[medium.name], True)
    assert medium.read(path).extent == signals[medium.name].extent


@every_medium
def test_suffixes_of_outputs_are_checked(tmp_path, signals, medium: Medium):
    medium.check_target(f"a{medium.default_suffix}", None)
    medium.check_target(io.BytesIO(), medium.default_suffix[1:])
    with pytest.raises(InputError, match=r"expected one of the suffixes .*, got \.xyz in 'a\.xyz'"):
        medium.check_target("a.xyz", None)
    with pytest.raises(InputError, match="expected one of the suffixes"):
        medium.write(tmp_path / "a.xyz", signals[medium.name], False)
    assert not list(tmp_path.iterdir())


@every_medium
@pytest.mark.parametrize("function", ["open", "amount_of", "read"])
def test_other_files_are_media_errors(tmp_path, error_message, medium: Medium, function):
    (tmp_path / "a").write_text("no medium at all\n" * 9)
    for name in ("a", "missing"):
        assert f"{tmp_path}/{name}'" in error_message(getattr(medium, function), tmp_path / name)


@every_medium
def test_signals(signals, medium: Medium):
    signal = signals[medium.name]
    assert signal.medium == medium.name
    assert signal.amount == signal.extent.amount
    assert signal.array.shape == (signal.extent.channels, *signal.extent.size)
    assert type(signal.extent) is medium.extent


@every_medium
def test_with_array_keeps_type_and_rate(signals, medium: Medium):
    signal = signals[medium.name]
    part = signal.array[:3, :5] if medium.name == "video" else signal.array[:1, :5]
    changed = signal.with_array(part.astype(np.float64))
    assert type(changed) is type(signal)
    assert changed.array.dtype == signal.array.dtype
    assert np.array_equal(changed.array, part)
    if medium.name != "video":  # whose extent has a frame rate
        size, rate = changed.array.shape[1:], getattr(signal, "sample_rate", 1)
        assert changed.extent == medium.extent.of_grid(size, (1,) * len(size), 1, rate)
    assert signal.array.shape == (signal.extent.channels, *signal.extent.size)


def test_every_signal_says_how_it_is_read_and_written():
    """The functions of the modules and of the table are the same."""
    for module in (audio, image):
        medium = module.MEDIUM
        assert medium.read is module.read
        assert medium.check_target is module.check_target
        assert list(inspect.signature(medium.write).parameters) == ["target", "signal", "overwrite", "format"]
