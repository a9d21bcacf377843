import io
import os
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from narrows.errors import InputError
from narrows.media import video

NTSC = Fraction(30_000, 1_001)
WAYS = {  # encoder, container and options: groups of pictures of several kinds
    "h264 with b-frames": ("libx264", "mp4", {"g": "8", "bf": "3"}),
    "h264 with open groups": ("libx264", "matroska", {"g": "8", "bf": "3", "x264-params": "open-gop=1"}),
    "h264 with intra refresh": ("libx264", "mp4", {"g": "8", "x264-params": "intra-refresh=1"}),
    "h264 in a broadcast": ("libx264", "mpegts", {"g": "8", "bf": "2"}),
    "mpeg2": ("mpeg2video", "mpegts", {"g": "8", "bf": "2"}),
    "h264 in avi": ("libx264", "avi", {"g": "8", "bf": "3"}),
    "mpeg4 in avi": ("mpeg4", "avi", {"g": "8", "bf": "0"}),
    "vp9": ("libvpx-vp9", "webm", {"g": "8", "cpu-used": "8", "deadline": "realtime"}),
    "ffv1": ("ffv1", "matroska", {"g": "8", "level": "3"}),
}


@pytest.fixture
def clip(tmp_path, encode, moving):
    """clip(way, ...) -> the path of a clip of 40 frames."""

    def make(way="h264 with b-frames", frames=40, **options):
        codec, container, given = WAYS[way]
        path = tmp_path / "clip"
        pictures = [[frame[0], frame[1][::2, ::2], frame[2][::2, ::2]] for frame in moving(frames)]
        encode(path, pictures, codec=codec, container=container, options=given, **options)
        return path

    return make


@pytest.mark.parametrize("way", WAYS)
def test_frames_from_a_time_on_are_the_same(clip, way):
    path = clip(way)
    with video.VideoReader(path) as reader:
        info, frames = reader.counted(), list(reader.frames())
        assert len(frames) == info.frames == 40
        assert info.rate == 25
        assert info.times is None
        assert abs(info.duration - Fraction(40, 25)) < Fraction(1, 100)
        assert [round(frame.time * 25) for frame in frames] == list(range(40))
        for first in range(0, 40, 3):
            part = list(reader.frames(frames[first].time, frames[first].time + Fraction(1, 5)))
            assert [frame.time for frame in part] == [frame.time for frame in frames[first : first + 5]]
            for found, expected in zip(part, frames[first:], strict=False):
                assert np.array_equal(found.pixels, expected.pixels)


def test_a_part_between_the_times_of_frames(clip):
    with video.VideoReader(clip()) as reader:
        assert [frame.time for frame in reader.frames(0.21, 0.3)] == [Fraction(6, 25), Fraction(7, 25)]
        assert list(reader.frames(5)) == list(reader.frames(0.1, 0.1)) == []
        assert len(list(reader.frames(stop=0.4))) == 10
        assert reader.fraction == pytest.approx(9 / 40, abs=0.02)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_a_first_time_stamp_other_than_zero(tmp_path, encode, container):
    encode(
        tmp_path / "a", [(50 + 4 * k, 128, 128) for k in range(20)], codec="libx264", container=container,
        base=Fraction(1, 1_000), stamps=[7_000 + 40 * k for k in range(20)], options={"g": "5"},
    )  # fmt: skip
    with video.VideoReader(tmp_path / "a") as reader:
        assert reader.info.start > 6
        whole = list(reader.frames())
        assert [frame.time for frame in whole] == [Fraction(k, 25) for k in range(20)]
        assert np.array_equal(next(reader.frames(Fraction(12, 25))).pixels, whole[12].pixels)
        assert reader.counted().rate == 25


@pytest.mark.parametrize(("container", "base"), [("mp4", Fraction(1, 90_000)), ("matroska", Fraction(1, 1_000))])
def test_a_variable_rate_keeps_all_times(tmp_path, encode, container, base):
    stamps = [0, 17, 40, 41, 95, 180, 181, 200, 350, 353]
    encode(
        tmp_path / "a", [(50 + 9 * k, 128, 128) for k in range(10)], codec="libx264", container=container, base=base,
        stamps=stamps,
    )  # fmt: skip
    info = video.probe(tmp_path / "a")
    assert info.rate is None
    assert info.times == tuple(stamp * base for stamp in stamps)
    assert [frame.time for frame in video.frames(tmp_path / "a")] == list(info.times)
    assert info.duration > info.times[-1]
    assert info.extent.frames == 10


def test_a_constant_rate_whose_times_are_rounded(tmp_path, encode):
    stamps = [round(1_000 * k / NTSC) for k in range(50)]
    encode(tmp_path / "a.mkv", [(50, 128, 128)] * 50, base=Fraction(1, 1_000), stamps=stamps)
    info = video.probe(tmp_path / "a.mkv")
    assert info.times is None
    assert abs(info.rate - NTSC) < Fraction(1, 50)


def test_edit_lists(tmp_path, moving):
    """FFmpeg cuts the begin with an edit list, and keeps the frames before in the file."""
    import shutil

    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    video.write(whole, moving(40), 25)
    subprocess.run(["ffmpeg", "-v", "error", "-ss", "0.4", "-i", whole, "-c", "copy", cut], check=True)
    all_frames, rest = list(video.frames(whole)), list(video.frames(cut))
    assert video.probe(cut).frames == len(rest) == 30
    for found, expected in zip(rest, all_frames[10:], strict=True):
        assert np.array_equal(found.pixels, expected.pixels)
        assert found.time == expected.time - Fraction(10, 25)
    assert np.array_equal(next(video.frames(cut, 0.4)).pixels, all_frames[20].pixels)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 5), (33, 47), (16, 8192)])
def test_all_sizes(tmp_path, encode, size):
    encode(tmp_path / "a.mkv", [(126, 128, 128)], size, matrix=1, full=1)
    info = video.probe(tmp_path / "a.mkv")
    (frame,) = video.frames(tmp_path / "a.mkv")
    assert (info.height, info.width) == size
    assert frame.pixels.shape == (3, *size)
    assert (frame.pixels == 128).all()


def test_pixel_aspects(tmp_path, encode):
    options = {"codec": "libx264", "container": "mp4"}
    encode(tmp_path / "a.mp4", [(126, 128, 128)], aspect=Fraction(16, 11), **options)
    info = video.probe(tmp_path / "a.mp4")
    assert info.pixel_aspect == Fraction(16, 11)
    assert info.warnings == ("its pixels are 16:11, not square; they are kept unscaled",)
    encode(tmp_path / "b.mp4", [(126, 128, 128)], aspect=Fraction(300, 301), **options)
    assert video.probe(tmp_path / "b.mp4").warnings == ()


def test_interlaced_frames_are_named(tmp_path, encode):
    encode(tmp_path / "a.mkv", [(126, 128, 128)] * 4, codec="mpeg2video", options={"flags": "+ildct+ilme"})
    info = video.probe(tmp_path / "a.mkv")
    assert info.interlaced
    assert "interlaced" in info.warnings[0]


def test_a_single_frame(clip):
    path = clip(frames=1)
    info = video.probe(path)
    assert (info.frames, info.rate, info.duration, info.times) == (1, 25, Fraction(1, 25), None)
    assert [frame.time for frame in video.frames(path)] == [0]


def test_several_tracks_are_named(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as file:
        streams = [file.add_stream("ffv1", rate=25) for _ in range(2)]
        for stream in streams:
            stream.codec_context.height = stream.codec_context.width = 16
            stream.codec_context.pix_fmt = "gray"
        for place, stream in enumerate(streams):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16), 50 + place, np.uint8), "gray")
            frame.pts = 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                file.mux(packet)
    assert video.probe(tmp_path / "a.mkv").warnings == ("it has 2 video tracks; only the first is read",)
    assert next(video.frames(tmp_path / "a.mkv")).pixels[0, 0, 0] == 50


def test_sources(clip):
    path = clip()
    data = path.read_bytes()
    expected = [frame.pixels for frame in video.frames(path)]
    for source in (str(path), data, memoryview(data), io.BytesIO(data), path.open("rb")):
        assert all(map(np.array_equal, (frame.pixels for frame in video.frames(source)), expected))
        if hasattr(source, "close"):
            source.close()
    reader = video.VideoReader(data)
    part = reader.frames()
    next(part)
    reader.close()
    reader.close()
    for call in (lambda: next(part), reader.frames, reader.counted, reader.sound):
        with pytest.raises(InputError, match="is closed"):
            call()
    assert "mov,mp4" in repr(reader)


def test_two_iterators_at_once(clip):
    with video.VideoReader(clip()) as reader:
        for one, other in zip(reader.frames(), reader.frames(), strict=True):
            assert np.array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize("time", [-1, "1", True, float("nan"), float("inf")])
def test_invalid_times(clip, time):
    with video.VideoReader(clip(frames=1)) as reader, pytest.raises(InputError, match="expected a time"):
        reader.frames(time)


def test_the_memory_does_not_depend_on_the_length(tmp_path, moving):
    frames = moving(4, 128, 256)
    peaks = []
    for count in (60, 600):
        path = tmp_path / f"{count}.mp4"
        video.write(path, (frames[k % 4] for k in range(count)), 25)
        script = (
            "import resource, sys\nfrom narrows.media import video\n"
            "assert sum(1 for _ in video.frames(sys.argv[1])) == int(sys.argv[2])\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        command = [sys.executable, "-c", script, str(path), str(count)]
        peaks.append(int(subprocess.run(command, capture_output=True, check=True, env=os.environ).stdout))
    unit = 1 if sys.platform == "darwin" else 1024
    assert (peaks[1] - peaks[0]) * unit < 20e6  # all frames take 59 MB
