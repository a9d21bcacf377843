import os
import resource
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from narrows.errors import MediaError
from narrows.media import audio, video


@pytest.fixture
def clip(tmp_path, moving):
    """clip(suffix) -> the path of a clip of 40 frames with a key frame every 250 frames at most."""

    def make(suffix="mp4", frames=40):
        path = tmp_path / f"clip.{suffix}"
        video.write(path, moving(frames), 25)
        return path

    return make


def read_until_damage(source):
    """The frames before the damage, and the message that names it."""
    found = []
    with pytest.raises(MediaError) as caught:
        found.extend(frame.pixels for frame in video.frames(source))
    message = str(caught.value)
    assert "\n" not in message
    return found, message


def same(found, path):
    return all(map(np.array_equal, found, (frame.pixels for frame in video.frames(path))))


def test_files_that_are_no_clips(tmp_path, error_message):
    def message(data, name="a.mp4"):
        (tmp_path / name).write_bytes(data)
        for source in (tmp_path / name, data):
            text = error_message(video.probe, source)
        return text

    assert "is empty (0 bytes)" in message(b"")
    assert "expected a video (MP4, " in message(b"This is no film.\n" * 100)
    assert "expected a video (MP4, " in message(b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1/a.ts\n")
    assert "expected a video (MP4, " in message(bytes(5_000))
    assert "there is no file" in error_message(video.probe, tmp_path / "none.mp4")
    assert "is a folder" in error_message(video.probe, tmp_path)
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "is a pipe or a device" in error_message(video.probe, tmp_path / "pipe.mp4")


def test_sound_only(tmp_path, tones, error_message):
    audio.write(tmp_path / "a.ogg", tones, 44_100)
    assert "has sound only; encode it as audio" in error_message(video.probe, tmp_path / "a.ogg")


def test_a_cover_is_no_clip(tmp_path, tones, error_message):
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        sound, cover = file.add_stream("aac", rate=44_100, layout="mono"), file.add_stream("mjpeg", rate=1)
        cover.codec_context.width = cover.codec_context.height = 16
        cover.codec_context.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame(16, 16, "yuvj420p")
        frame.pts = 0
        for packet in [*cover.encode(frame), *cover.encode(None)]:
            file.mux(packet)
        part = av.AudioFrame.from_ndarray(tones, "fltp", "mono")
        part.sample_rate = 44_100
        for packet in [*sound.encode(part), *sound.encode(None)]:
            file.mux(packet)
    assert "has sound only" in error_message(video.probe, tmp_path / "a.mp4")


def empty(path, codec="ffv1"):
    """A file with a video track of 16 × 16 and no frames."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.codec_context.width = stream.codec_context.height = 16
        stream.codec_context.pix_fmt = "yuv420p"
        file.start_encoding()


def test_no_frames(tmp_path, error_message):
    empty(tmp_path / "a.avi")
    assert "holds no frames" in error_message(video.probe, tmp_path / "a.avi")
    empty(tmp_path / "a.mp4", "libx264")
    assert "has no video track" in error_message(video.probe, tmp_path / "a.mp4")


@pytest.mark.parametrize("suffix", ["mp4", "webm", "mkv"])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.99])
def test_a_cut_file_gives_the_frames_that_are_there(clip, suffix, share):
    path = clip(suffix)
    data = path.read_bytes()
    cut = data[: int(len(data) * share)]
    found, message = read_until_damage(cut)
    assert len(found) < 40
    assert len(found) >= (0 if share < 0.9 else 20)
    assert same(found, path)
    assert "is cut" in message or "damaged or cut" in message
    if found:
        with video.VideoReader(cut) as reader:
            assert "it is cut: expected" in reader.info.warnings[-1]


def test_a_cut_broadcast_is_read_to_its_end(tmp_path, encode):
    path = tmp_path / "a.ts"
    encode(path, [(40 + 5 * k, 128, 128) for k in range(40)], (240, 320), codec="mpeg2video", container="mpegts")
    data = path.read_bytes()
    whole = list(video.frames(path))
    found, message = [], ""
    try:
        found.extend(video.frames(data[: len(data) // 2]))
    except MediaError as error:
        message = str(error)
    assert message == "" or "damaged or cut" in message
    assert len(found) < len(whole)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_checksum_that_is_wrong(clip, place):
    path = clip("mkv")
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 0x10
    found, message = read_until_damage(bytes(data))
    assert 0 < len(found) < 40
    assert same(found, path)
    assert "a checksum is wrong" in message
    assert "after" in message


def test_a_damaged_frame_is_not_filled_with_others(clip):
    path = clip("mp4")
    data = bytearray(path.read_bytes())
    at = data.index(b"mdat")
    with av.open(str(path)) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
    start = packets[20].pos
    assert start > at
    data[start : start + 4] = struct.pack(">I", 2**31 - 1)  # the length of its first unit
    found, message = read_until_damage(bytes(data))
    assert 0 < len(found) <= 20
    assert same(found, path)
    assert "is damaged or cut somewhere after" in message


def test_a_header_that_lies_about_its_length(clip):
    """Durations of ten times the length, and of 0."""
    data = bytearray(clip("mp4").read_bytes())
    expected = video.probe(bytes(data))
    for factor in (10, 0):
        lying = bytearray(data)
        for name, offset in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
            at = data.index(name) + offset
            (length,) = struct.unpack(">I", data[at : at + 4])
            lying[at : at + 4] = struct.pack(">I", length * factor)
        info = video.probe(bytes(lying))
        assert (info.frames, info.rate, info.duration) == (40, 25, expected.duration)
        assert sum(1 for _ in video.frames(bytes(lying))) == 40


def resized(path, sizes, container="mpegts"):
    """A broadcast of ten frames of each size."""
    with av.open(str(path), "w", format=container) as file:
        output = file.add_stream("mpeg2video", rate=25)
        output.codec_context.width, output.codec_context.height = sizes[0]
        output.codec_context.pix_fmt = "yuv420p"
        for part, (width, height) in enumerate(sizes):
            encoder = av.CodecContext.create("mpeg2video", "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
            encoder.max_b_frames = 0
            packets = []
            for k in range(10):
                frame = av.VideoFrame(width, height, "yuv420p")
                for plane in frame.planes:
                    plane.update(bytes([60 + 10 * k]) * plane.buffer_size)
                frame.pts, frame.time_base = 10 * part + k, Fraction(1, 25)
                packets += encoder.encode(frame)
            for packet in [*packets, *encoder.encode(None)]:
                packet.stream, packet.time_base = output, Fraction(1, 25)
                file.mux(packet)


def test_a_size_that_changes_is_refused_there(tmp_path):
    resized(tmp_path / "a.ts", [(320, 240), (160, 128)])
    found, message = read_until_damage(tmp_path / "a.ts")
    assert len(found) in (9, 10)  # FFmpeg's decoder of MPEG-2 loses the last
    assert "changes from 320 × 240 to 160 × 128 at 0.40 s; cut it there into clips" in message


BOMBS = {  # suffix, encoder, size, its bytes in the file, and those of the bomb
    "mkv": ("ffv1", (300, 301), b"\xb0\x82\x01\x2d\xba\x82\x01\x2c", b"\xb0\x82\xff\xff\xba\x82\xff\xff"),
    "avi": ("ffv1", (300, 301), struct.pack("<II", 301, 300), struct.pack("<II", 100_000, 100_000)),
}


@pytest.mark.parametrize("suffix", BOMBS)
def test_a_bomb_is_refused_before_memory_is_allocated(tmp_path, encode, error_message, suffix):
    codec, size, honest, claim = BOMBS[suffix]
    container = "matroska" if suffix == "mkv" else suffix
    encode(tmp_path / "a", [(100, 128, 128)] * 3, size, codec=codec, container=container)
    data = (tmp_path / "a").read_bytes()
    assert honest in data
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    message = error_message(video.probe, data.replace(honest, claim))
    assert "expected frames of 1 to 67108864 pixels, got" in message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB


def test_a_large_frame_within_the_limit(tmp_path, encode):
    encode(tmp_path / "a.mkv", [(100,)], (8_192, 16), pixel_format="gray")
    assert video.probe(tmp_path / "a.mkv").height == 8_192


def test_the_size_of_the_container_does_not_count(clip):
    """That of the H.264 stream does."""
    data = clip("mp4").read_bytes()
    at = data.index(b"avc1", data.index(b"stsd")) + 28
    assert data[at : at + 4] == struct.pack(">HH", 48, 32)
    info = video.probe(data[:at] + b"\xff" * 4 + data[at + 4 :])
    assert (info.height, info.width) == (32, 48)


@pytest.mark.parametrize("suffix", ["webm", "mkv"])
@pytest.mark.parametrize("kept", [0.4, 0.7, 0.9])
def test_a_matroska_whose_end_is_zeros(tmp_path, suffix, kept):
    path = tmp_path / f"a.{suffix}"
    rng = np.random.default_rng(0)
    video.write(path, rng.integers(0, 256, (30, 3, 32, 32), np.uint8), rate=25)
    assert sum(1 for _ in video.frames(path)) == 30
    data = path.read_bytes()
    begin = int(kept * len(data))
    path.write_bytes(data[:begin] + bytes(len(data) - begin))
    with pytest.raises(MediaError, match=r"is cut|is damaged"):
        video.read(path)
    with video.VideoReader(path, recover=True) as reader:
        assert 0 < sum(1 for _ in reader.frames()) < 30
        assert reader.damage
    path.write_bytes(data + bytes(100))  # behind the end of what the header declares: nothing is lost
    assert sum(1 for _ in video.frames(path)) == 30
