"""Video on the command line: encode, decode, info, and bad input."""

import json
import resource
import signal
import struct
import time
from fractions import Fraction

import av
import numpy as np
import pytest

from narrows.bitstream import read_header
from narrows.checkpoints import default
from narrows.media import audio, video
from narrows.media.table import medium_of


def frames(count, height=32, width=48):
    return [np.full((3, height, width), 5 * number % 256, np.uint8) for number in range(count)]


def sound(seconds, channels=1, rate=16_000):
    x = 0.1 * np.random.default_rng(0).standard_normal((channels, round(seconds * rate)))
    return video.Sound([x.astype(np.float32)], rate, channels)


@pytest.fixture
def clip(place):
    """clip(name, frames, ...) -> path of a clip of 10 frames per second, with `seconds` of sound."""

    def written(name="clip.mp4", count=10, height=32, width=48, seconds=None, **options):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        track = None if seconds is None else sound(seconds)
        rate = None if "times" in options else 10
        video.write(path, frames(count, height, width), rate, sound=track, **options)
        return path

    return written


@pytest.fixture
def coded(codec, clip, tiny_video, model):
    """coded(name, ...) -> path of the .nrw file of a clip; options as those of `clip`."""

    def written(name="s.nrw", **options):
        source = clip("source.mkv", **options)
        result = codec("encode", source, "-m", tiny_video, "--audio-model", model, "-o", name)
        assert result.code == 0, result
        source.unlink()
        return source.with_name(name)

    return written


@pytest.mark.parametrize("suffix", ["mp4", "mov", "webm", "mkv"])
def test_a_clip_there_and_back_with_its_sound(codec, clip, tiny_video, model, place, suffix):
    clip(f"clip.{suffix}", count=13, seconds=1.3)
    result = codec("encode", f"clip.{suffix}", "-m", tiny_video, "--audio-model", model)
    assert (result.code, result.out.count("\n")) == (0, 1)
    size = (place / "clip.nrw").stat().st_size
    assert f"clip.{suffix} → clip.nrw  1.30 s  48 × 32  {size} bytes  " in result.out
    assert f"{8 * size / (13 * 48 * 32):.3g} bits per pixel  {8 * size / 1300:.3g} kbit/s  " in result.out
    result = codec("decode", "clip.nrw", "-m", tiny_video, "--audio-model", model, "-o", f"back.{suffix}")
    assert (result.code, result.err) == (0, "")
    info = video.probe(f"back.{suffix}")
    assert (info.frames, info.rate, info.height, info.width, info.sound) == (13, 10, 32, 48, True)


def test_a_decoded_clip_is_an_mp4(codec, coded, tiny_video, model):
    coded()
    assert "s.nrw → s.mp4" in codec("decode", "s.nrw", "-m", tiny_video).out
    assert video.probe("s.mp4").frames == 10
    assert codec("decode", "s.nrw", "-m", tiny_video, "--format", "webm").code == 0
    assert video.probe("s.webm").frames == 10


def test_sound_is_left_out_on_request(codec, clip, tiny_video, model, coded):
    clip(seconds=1)
    assert codec("encode", "clip.mp4", "-m", tiny_video, "--no-audio").code == 0
    with open("clip.nrw", "rb") as file:
        assert read_header(file.read()).attachments == ()
    coded(seconds=1)
    assert codec("decode", "s.nrw", "-m", tiny_video, "--no-audio").code == 0
    assert not video.probe("s.mp4").sound


def test_the_shipped_audio_models_are_used(codec, clip, tiny_video):
    clip(seconds=0.5)
    assert codec("encode", "clip.mp4", "-m", tiny_video).code == 0
    assert codec("decode", "clip.nrw", "-m", tiny_video, "-o", "back.mp4").code == 0
    assert video.probe("back.mp4").sound
    facts = json.loads(codec("info", "clip.nrw", "--json").out)
    assert facts["sound"]["model"] == "speech"


def test_a_model_of_ones_own_is_asked_for(refused, coded, tiny_video):
    coded(seconds=1)
    assert "expected the audio model tiny" in refused("decode", "s.nrw", "-m", tiny_video)
    assert "give it with --audio-model" in refused("decode", "s.nrw", "-m", tiny_video)


def test_what_the_sound_loses_is_said(codec, clip, tiny_video, model):
    video.write("clip.mp4", frames(5), 10, sound=sound(0.5, 2, 48_000))
    message = codec("encode", "clip.mp4", "-m", tiny_video, "--audio-model", model).err
    assert "'clip.mp4': sound: tiny keeps up to 8 kHz, of 24 kHz" in message
    assert "'clip.mp4': sound: its 2 channels are coded separately" in message


@pytest.mark.parametrize(
    ("start", "stop", "count"), [("0.5s", "1", 5), ("1", "0:02.0", 10), ("0:01.5", None, 5), (None, "0.3s", 3)]
)
def test_a_part_in_time(codec, coded, tiny_video, model, start, stop, count):
    coded(count=20, seconds=2)
    times = [*(["--from", start] if start else []), *(["--to", stop] if stop else [])]
    result = codec("decode", "s.nrw", "-m", tiny_video, "--audio-model", model, "-o", "part.mkv", *times)
    assert (result.code, result.err) == (0, "")
    assert video.probe("part.mkv").frames == count
    assert audio.probe("part.mkv").samples == 1_600 * count


def test_times_that_are_none(codec, coded, tiny_video, refused):
    coded()
    for text in ("soon", "1:2:3:4", "3m"):
        result = codec("decode", "s.nrw", "-m", tiny_video, "--from", text)
        assert result.code == 2
        assert f"expected a time such as 3s, 2.5 or 1:30, got '{text}'" in " ".join(result.err.split())
    for text in ("nan", "5", "-1"):
        assert "expected " in refused("decode", "s.nrw", "-m", tiny_video, f"--from={text}")


def test_options_that_do_not_fit_are_refused_by_name(refused, clip, wav, image_file, coded, tiny_video, model):
    clip()
    for option in (["--bitrate", 6], ["--quality", 3], ["--bpp", 1], ["--effort", 2], ["--background", "white"]):
        message = refused("encode", "clip.mp4", "-m", tiny_video, *option)
        assert option[0].removeprefix("--").replace("bpp", "bits_per_pixel") in message
    wav()
    image_file()
    for option, name in (("--no-audio", "sound"), ("--recover", "recover")):
        assert f"expected video for {name}, got audio" in refused("encode", "a.wav", "-m", model, option)
        assert f"expected video for {name}, got image" in refused("encode", "a.png", option)
    assert "expected video for audio_model" in refused("encode", "a.wav", "-m", model, "--audio-model", model)
    coded()
    assert "background='red'" in refused("decode", "s.nrw", "-m", tiny_video, "--background", "red")


def test_a_folder_of_clips(codec, clip, tiny_video, place):
    clip("in/a.mp4")
    clip("in/deep/b.webm", seconds=1)
    (place / "in/notes.txt").write_text("none")
    result = codec("encode", "in", "-m", tiny_video, "-o", "out", "--no-audio", "--jobs", 2)
    assert result.code == 0
    assert sorted(path.name for path in place.glob("out/**/*.nrw")) == ["a.nrw", "b.nrw"]
    assert result.err == "codec: 2 of 2 files done; skipped 1 file that is no audio, image or video: .txt 1\n"
    result = codec("decode", "out", "-m", tiny_video, "-o", "back")
    assert sorted(path.name for path in place.glob("back/**/*.mp4")) == ["a.mp4", "b.mp4"]


def test_a_folder_of_several_media(codec, clip, wav, image_file, tiny_video, monkeypatch, place):
    """Options of one medium apply to its files."""
    clip("in/a.mp4", seconds=0.3)
    wav("in/b.wav")
    image_file("in/c.png")
    shipped = default.default_model
    monkeypatch.setattr(
        default, "default_model", lambda path: tiny_video if medium_of(path).name == "video" else shipped(path)
    )
    result = codec("encode", "in", "-o", "out", "--no-audio", "--bitrate", 6, "--quality", 3)
    assert (result.code, len(list(place.glob("out/*.nrw")))) == (0, 3), result
    assert read_header((place / "out/a.nrw").read_bytes()).attachments == ()


def test_the_medium_of_a_file_decides(codec, clip, place):
    """A file of a suffix of audio and video is audio if it has no frames."""
    audio.write("talk.wav", np.zeros((1, 8_000), np.float32), 16_000)
    with av.open("talk.mp4", "w") as file:
        stream = file.add_stream("aac", rate=16_000, layout="mono")
        part = av.AudioFrame.from_ndarray(np.zeros((1, 8_000), np.float32), "fltp", "mono")
        part.sample_rate = 16_000
        for packet in [*stream.encode(part), *stream.encode(None)]:
            file.mux(packet)
    assert codec("encode", "talk.mp4").code == 0
    assert read_header((place / "talk.nrw").read_bytes()).extent.medium == "audio"
    clip(seconds=1)
    assert codec("encode", "clip.mp4", "-m", "speech").code == 0
    assert read_header((place / "clip.nrw").read_bytes()).extent.medium == "audio"


def test_info_on_files(codec, clip, wav, image_file):
    clip(seconds=1)
    shown = json.loads(codec("info", "clip.mp4", "--json").out)
    assert (shown["medium"], shown["width"], shown["height"], shown["frames"], shown["seconds"]) == (
        *("video", 48, 32),
        *(10, 1.0),
    )
    assert (shown["frames_per_second"], shown["codec"], shown["pixel_format"]) == (10, "h264", "yuv420p")
    assert (shown["rotation"], shown["interlaced"], shown["sound"]) == (0, False, "aac, 16000 Hz, 1 channel")
    assert shown["kbit_per_second"] == pytest.approx(8 * shown["bytes"] / 1_000)
    text = codec("info", "clip.mp4").out
    assert "\nframes           10\n" in text
    assert "\nwarnings         none\n" in text
    wav()
    shown = json.loads(codec("info", "a.wav", "--json").out)
    assert (shown["medium"], shown["sample_rate"], shown["samples"]) == ("audio", 16_000, 500)
    image_file()
    shown = json.loads(codec("info", "a.png", "--json").out)
    assert (shown["medium"], shown["width"], shown["height"], shown["format"]) == ("image", 70, 40, "png")


def test_info_says_what_reading_changes(codec, place):
    with av.open("hdr.mkv", "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = 48, 32, "yuv420p10le"
        context.color_trc, context.colorspace, context.color_primaries = 16, 9, 9
        frame = av.VideoFrame(48, 32, "yuv420p10le")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.colorspace, frame.color_trc, frame.pts = 9, 16, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    lines = codec("info", "hdr.mkv", "--json").out
    shown = json.loads(lines)
    assert (shown["bits"], shown["matrix"]) == (10, "bt2020")
    assert any("HDR" in line for line in shown["warnings"])


def test_info_on_a_stream_and_a_model(codec, coded, tiny_video):
    path = coded(seconds=1)
    shown = json.loads(codec("info", "s.nrw", "--json").out)
    size = path.stat().st_size
    assert (shown["medium"], shown["seconds"], shown["width"], shown["height"]) == ("video", 1.0, 48, 32)
    assert shown["bits_per_pixel"] == round(8 * size / (10 * 48 * 32), 4)
    assert shown["kbit_per_second"] == round(8 * size / 1_000, 4)
    assert (shown["sound"]["model"], shown["sound"]["sample_rate"], shown["sound"]["seconds"]) == ("tiny", 16_000, 1.0)
    assert shown["intact"]
    shown = json.loads(codec("info", tiny_video, "--json").out)
    assert (shown["medium"], shown["stride"], shown["codebooks"]) == ("video", [4, 8, 8], 1)


def test_damage_costs_its_own_time_and_sound(codec, coded, tiny_video, model, refused):
    path = coded(seconds=1)
    data = bytearray(path.read_bytes())
    header = read_header(bytes(data))
    assert [name for name, _ in header.attachments] == ["audio"]
    data[len(header.to_bytes()) + 50] ^= 1
    path.write_bytes(data)
    assert "the attachment audio fails its checksum; use --recover" in refused("decode", "s.nrw", "-m", tiny_video)
    result = codec("decode", "s.nrw", "-m", tiny_video, "--recover")
    assert (result.code, result.err) == (0, "codec: 's.nrw': its sound is damaged and left out\n")
    assert not video.probe("s.mp4").sound
    shown = codec("info", "s.nrw", "--json")
    assert (shown.code, json.loads(shown.out)["sound"]) == (2, None)


def test_damaged_chunks_become_grey(codec, clip, tiny_video, place):
    clip("long.mkv", count=230, height=8, width=8)  # 23 s, two chunks
    assert codec("encode", "long.mkv", "-m", tiny_video).code == 0
    data = bytearray((place / "long.nrw").read_bytes())
    data[-1] ^= 1
    (place / "long.nrw").write_bytes(data)
    result = codec("decode", "long.nrw", "-m", tiny_video, "--recover")
    assert result.code == 0
    assert "s; replaced by grey" in result.err
    assert "damaged from " in result.err
    assert video.probe("long.mp4").frames == 230


@pytest.mark.parametrize(("height", "width"), [(1, 1), (16, 2_048), (33, 31)])
def test_sizes(codec, clip, tiny_video, height, width):
    clip("a.mkv", count=2, height=height, width=width)
    assert codec("encode", "a.mkv", "-m", tiny_video).code == 0
    assert codec("decode", "a.nrw", "-m", tiny_video, "-o", "b.mkv").code == 0
    info = video.probe("b.mkv")
    assert (info.frames, info.height, info.width) == (2, height, width)


def test_one_frame_and_a_variable_rate(codec, clip, tiny_video):
    clip("one.mkv", count=1)
    times = [Fraction(k * k, 100) for k in range(6)]
    clip("vfr.mov", count=6, times=times)
    for name in ("one.mkv", "vfr.mov"):
        assert codec("encode", name, "-m", tiny_video).code == 0
    assert codec("decode", "one.nrw", "vfr.nrw", "-m", tiny_video, "-o", "back").code == 0
    assert video.probe("back/one.mp4").frames == 1
    assert video.probe("back/vfr.mp4").times == tuple(times)


def test_a_clip_that_breaks_off(codec, clip, tiny_video, model, refused, place):
    data = clip("whole.mkv", count=40, seconds=4).read_bytes()
    (place / "cut.mkv").write_bytes(data[: len(data) // 2])
    options = ["-m", tiny_video, "--audio-model", model]
    message = refused("encode", "cut.mkv", *options)
    assert "is cut" in message
    assert "take what comes before it with --recover" in message
    result = codec("encode", "cut.mkv", *options, "--recover")
    assert result.code == 0
    assert "cut" in result.err
    header = read_header((place / "cut.nrw").read_bytes())
    assert 5 < header.extent.frames < 40
    assert codec("decode", "cut.nrw", *options).code == 0
    assert video.probe("cut.mp4").frames == header.extent.frames


def no_frames(path):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.codec_context.width = stream.codec_context.height = 16
        stream.codec_context.pix_fmt = "yuv420p"
        file.start_encoding()


def sizes_change(path):
    with av.open(str(path), "w", format="mpegts") as file:
        output = file.add_stream("mpeg2video", rate=25)
        output.codec_context.width, output.codec_context.height = 320, 240
        output.codec_context.pix_fmt = "yuv420p"
        for part, (width, height) in enumerate([(320, 240), (160, 128)]):
            encoder = av.CodecContext.create("mpeg2video", "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base, encoder.framerate, encoder.max_b_frames = Fraction(1, 25), Fraction(25), 0
            packets = []
            for number in range(5):
                frame = av.VideoFrame(width, height, "yuv420p")
                for plane in frame.planes:
                    plane.update(bytes([60 + number]) * plane.buffer_size)
                frame.pts, frame.time_base = 5 * part + number, Fraction(1, 25)
                packets += encoder.encode(frame)
            for packet in [*packets, *encoder.encode(None)]:
                packet.stream, packet.time_base = output, Fraction(1, 25)
                file.mux(packet)


def bomb(path):
    video.write(path, frames(3, 301, 300), 10)
    data = path.read_bytes()
    claimed = data.replace(b"\xb0\x82\x01\x2c\xba\x82\x01\x2d", b"\xb0\x82\xff\xff\xba\x82\xff\xff")
    assert claimed != data
    path.write_bytes(claimed)


def sound_only(path):
    audio.write(path, np.zeros((1, 8_000), np.float32), 16_000)


BAD = {
    "no frames": ("a.avi", no_frames, "holds no frames"),
    "sizes": ("a.ts", sizes_change, "changes from 320 × 240 to 160 × 128"),
    "bomb": ("a.mkv", bomb, "expected frames of 1 to 67108864 pixels, got"),
    "sound": ("a.ogg", sound_only, "has sound only; encode it as audio"),
    "text": ("a.mp4", lambda path: path.write_text("no video " * 99), "expected a video (MP4, "),
    "empty": ("a.mp4", lambda path: path.touch(), "is empty (0 bytes)"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_refused_in_a_line(refused, tiny_video, place, kind):
    name, write, message = BAD[kind]
    write(place / name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert message in refused("encode", name, "-m", tiny_video)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB


def test_a_header_that_lies_about_its_length(codec, clip, tiny_video, place):
    data = bytearray(clip().read_bytes())
    for name, offset in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
        at = data.index(name) + offset
        data[at : at + 4] = struct.pack(">I", 10 * struct.unpack(">I", data[at : at + 4])[0])
    (place / "lying.mp4").write_bytes(data)
    assert "  1.00 s  48 × 32  " in codec("encode", "lying.mp4", "-m", tiny_video).out


def test_a_full_disk_leaves_no_clip(refused, coded, tiny_video):
    coded(count=20, height=64, width=64)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        assert "could not be written to its end" in refused("decode", "s.nrw", "-m", tiny_video, "-o", "a.mkv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("verb", ["encode", "decode"])
def test_ctrl_c_leaves_no_half_written_file(start, clip, coded, tiny_video, place, verb):
    path = clip("long.mkv", 300) if verb == "encode" else coded(count=100, height=64, width=96)
    process = start(verb, path, "-m", tiny_video, "-o", place / "new" / ("a.nrw" if verb == "encode" else "a.mkv"))
    deadline = time.monotonic() + 300
    while not list(place.glob("new/.narrows-*.part")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert list(place.iterdir()) == [path]
