import itertools
import shutil
import subprocess
from fractions import Fraction

import numpy as np
import pytest

from narrows.errors import InputError
from narrows.media import audio, video
from narrows.media.video.formats import FORMATS

RATE = 44_100
LAYOUTS = {suffix[1:]: format.layouts for suffix, format in FORMATS.items()}
BURST = 20_000  # sample of the burst in `tones`


def track(samples, offset=0, rate=RATE, block=5_000):
    blocks = [samples[:, at : at + block] for at in range(0, samples.shape[1], block)]
    return video.Sound(blocks, rate, len(samples), offset)


def samples_of(path):
    with video.VideoReader(path) as reader:
        sound = reader.sound()
        return np.concatenate(list(sound.blocks), axis=1), sound


def delay(path, expected):
    """Samples by which the sound comes later than expected, from the first frame on, at 44.1 kHz; by correlation."""
    with video.VideoReader(path) as reader:
        sound = reader.sound()
        found = np.concatenate(list(video.aligned(sound)), axis=1)[0]
    if sound.sample_rate != RATE:
        found = audio.Audio(found[None], sound.sample_rate).resampled(RATE).samples[0]
    window = slice(BURST - 1_500, BURST + 1_500)
    scores = [
        float(found[window.start + shift : window.stop + shift] @ expected[window])
        for shift in range(-1_450, 1_451)
        if window.stop + shift <= len(found)
    ]
    return int(np.argmax(scores)) - 1_450


@pytest.mark.parametrize("offset", [0, 1, 500, 1_400, -1, -441, -1_234])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "webm", "mkv"])
def test_sound_in_time(tmp_path, moving, tones, suffix, offset):
    path = tmp_path / f"a.{suffix}"
    video.write(path, moving(30), Fraction(30_000, 1_001), sound=track(tones, offset))
    assert delay(path, tones[0]) == offset
    info = video.probe(path)
    assert info.sound
    assert (info.frames, info.rate) == (30, Fraction(30_000, 1_001))
    assert next(video.frames(path)).time == 0


@pytest.mark.parametrize("suffix", ["mp4", "webm", "mkv"])
def test_the_length_of_sound(tmp_path, moving, tones, suffix):
    for length in (649 if suffix == "webm" else 1, 1_023, 20_011):
        path = tmp_path / f"{length}.{suffix}"
        samples = audio.Audio(tones, RATE).resampled(48_000).samples[:, 12_000 : 12_000 + length]
        video.write(path, moving(3), 25, sound=track(samples, rate=48_000))
        found, sound = samples_of(path)
        assert (found.shape, sound.sample_rate, sound.channels, sound.offset) == ((1, length), 48_000, 1, 0)


def test_lossless_sound(tmp_path, moving, noise):
    samples = np.float32(np.rint(noise * 2**15) / 2**15)
    video.write(tmp_path / "a.mkv", moving(3), 25, sound=track(samples))
    found, sound = samples_of(tmp_path / "a.mkv")
    assert np.array_equal(found, samples)
    assert np.array_equal(np.concatenate(list(sound.blocks), axis=1), samples)  # a second time


@pytest.mark.parametrize(
    ("suffix", "channels"),
    [(suffix, channels) for suffix, layouts in LAYOUTS.items() for channels in layouts],
)
def test_channels_stay_in_order(tmp_path, moving, suffix, channels):
    at = np.arange(48_000)
    pitches = 60 if channels > 5 else 400  # the channel of low frequencies keeps only such
    samples = np.float32([0.2 * np.sin(2 * np.pi * at / 48_000 * pitches * (1 + 0.1 * k)) for k in range(channels)])
    video.write(tmp_path / f"a.{suffix}", moving(3), 25, sound=track(samples, rate=48_000))
    found, _ = samples_of(tmp_path / f"a.{suffix}")
    for one, other in zip(found, samples, strict=True):
        assert np.corrcoef(one[4_000:-4_000], other[4_000:-4_000])[0, 1] > 0.9


def test_a_clip_goes_through(tmp_path, moving, tones):
    """What is read can be written, with times and sound."""
    times = [Fraction(place, 1_000) for place in (0, 30, 80, 90, 200)]
    video.write(tmp_path / "a.mp4", moving(5), times=times, sound=track(tones, -441))
    with video.VideoReader(tmp_path / "a.mp4") as reader:
        info = reader.counted()
        with video.VideoWriter(
            tmp_path / "b.mkv", info.height, info.width, times=info.times, sound=reader.sound()
        ) as writer:
            for frame in reader.frames():
                writer.write(frame.pixels)
    assert video.probe(tmp_path / "b.mkv").times == tuple(times)
    assert delay(tmp_path / "b.mkv", tones[0]) == -441


def test_a_clip_without_sound(tmp_path, moving):
    video.write(tmp_path / "a.mp4", moving(3), 25)
    with video.VideoReader(tmp_path / "a.mp4") as reader:
        assert not reader.info.sound
        assert reader.sound() is None


def test_sound_that_begins_late(tmp_path, moving, tones):
    """As ffmpeg writes it: an empty edit of milliseconds, and time stamps."""
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    audio.write(tmp_path / "a.wav", tones, RATE)
    video.write(tmp_path / "v.mp4", moving(30), 25)
    for suffix, codec, late in (("mp4", "aac", 0.2), ("mkv", "flac", 0.2), ("mov", "pcm_s16le", 0.2)):
        command = ["ffmpeg", "-v", "error", "-y", "-i", tmp_path / "v.mp4", "-itsoffset", str(late), "-i"]
        command += [tmp_path / "a.wav", "-c:v", "copy", "-c:a", codec, "-b:a", "128k", tmp_path / f"b.{suffix}"]
        subprocess.run(command, check=True)
        _, sound = samples_of(tmp_path / f"b.{suffix}")
        assert abs(sound.offset - round(late * RATE)) <= (1_024 + 45 if codec == "aac" else 0)


def test_aligned_blocks():
    blocks = [np.full((1, 4), value, np.float32) for value in (1, 2, 3)]

    def values(offset):
        return list(itertools.chain(*(block[0] for block in video.aligned(video.Sound(blocks, RATE, 1, offset)))))

    assert values(0) == [1] * 4 + [2] * 4 + [3] * 4
    assert values(2) == [0, 0, *values(0)]
    assert values(-6) == values(0)[6:]
    assert values(-99) == []


def test_sound_that_cannot_be_written(tmp_path, moving, tones, error_message):
    def message(sound, suffix="mp4"):
        return error_message(
            video.write, tmp_path / f"a.{suffix}", moving(3), 25, sound=sound, error=InputError
        )  # fmt: skip

    assert "got 5 channels" in message(video.Sound([], RATE, 5), "webm")
    assert "got 7 channels" in message(video.Sound([], RATE, 7))
    assert "sample rate" in message(video.Sound([], 10, 1))
    assert "expected samples (2, n)" in message(video.Sound([tones], RATE, 2))
    assert "NaN" in message(video.Sound([tones * np.nan], RATE, 1))
    assert list(tmp_path.iterdir()) == []
