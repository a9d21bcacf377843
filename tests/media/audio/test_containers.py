"""Files of the program ffmpeg, in many containers and codecs, against the signal that they were made from."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from narrows.media import audio

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the program ffmpeg")

RATE = 48_000
SAMPLES = 40_000
LAYOUTS = ["mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"]
LOSSLESS = {"alac", "flac", "pcm_s16le", "pcm_s16be", "pcm_s24be", "pcm_s64le", "wavpack", "tta"}
# Suffix, codec, and the encoder delay in samples that the container does not state.
WITH_EDITS = [
    *[("m4a", "aac", 0), ("mov", "aac", 0), ("3gp", "aac", 0), ("m4a", "alac", 0), ("mp4", "flac", 0)],
    *[("mp4", "libmp3lame", 0), ("mov", "libmp3lame", 0), ("mp4", "libopus", 0), ("mp4", "libvorbis", 0)],
    *[("mp4", "ac3", 0), ("mp4", "eac3", 0), ("mov", "pcm_s16le", 0), ("mov", "pcm_s24be", 0)],
]
WITH_TIMES = [
    *[("ogg", "libvorbis", 0), ("ogg", "libopus", 0), ("webm", "libopus", 0), ("webm", "libvorbis", 0)],
    *[("mka", "libopus", 0), ("mkv", "libvorbis", 0), ("mkv", "flac", 0), ("mkv", "pcm_s16le", 0), ("ogg", "flac", 0)],
    *[("ts", "aac", 1024), ("ts", "libmp3lame", 1105), ("mkv", "ac3", 256), ("avi", "pcm_s16le", 0)],
    *[("flv", "aac", 1024), ("mpg", "libmp3lame", 1105), ("avi", "libmp3lame", 1105)],
]
WITHOUT_TIMES = [
    *[("mp3", "libmp3lame", 0), ("aac", "aac", 1024), ("ac3", "ac3", 256), ("eac3", "eac3", 256), ("flac", "flac", 0)],
    *[("wav", "pcm_s16le", 0), ("wav", "pcm_s64le", 0), ("w64", "pcm_s16le", 0), ("aiff", "pcm_s16be", 0)],
    *[("caf", "alac", 0), ("caf", "pcm_s24be", 0), ("au", "pcm_s16be", 0), ("wv", "wavpack", 0), ("tta", "tta", 0)],
]


def ffmpeg(*arguments) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> np.ndarray:
    """Two channels of low-passed noise (2, SAMPLES): no two parts of it are equal."""
    white = np.random.default_rng(0).standard_normal((2, SAMPLES))
    smooth = np.apply_along_axis(np.convolve, 1, white, np.hanning(17) / 8, "same")
    return np.float32(0.15 * smooth / smooth.std())


@pytest.fixture(scope="module")
def source(tmp_path_factory, given):
    path = tmp_path_factory.mktemp("source") / "source.wav"
    soundfile.write(path, given.T, RATE, subtype="FLOAT")
    return path


def lag(found: np.ndarray, given: np.ndarray) -> int:
    """The delay in samples of `found` relative to `given`."""
    size = 1 << (found.shape[1] + given.shape[1]).bit_length()
    spectra = np.fft.rfft(found[0], size) * np.conj(np.fft.rfft(given[0], size))
    place = int(np.argmax(np.fft.irfft(spectra, size)))
    return place if place < size // 2 else place - size


def assert_same(found: np.ndarray, given: np.ndarray, codec: str) -> None:
    """Both (2, n): equal, or similar in every part for a lossy codec."""
    assert found.shape == given.shape
    if codec in LOSSLESS:
        assert np.abs(found - given).max() <= 2**-15
        return
    for start in range(0, found.shape[1] - 999, 1000):
        part = slice(start, start + 1000)
        assert np.corrcoef(found[0, part], given[0, part])[0, 1] > 0.8, start


@pytest.mark.parametrize(("suffix", "codec", "delay"), [*WITH_EDITS, *WITH_TIMES, *WITHOUT_TIMES])
def test_a_whole_file(tmp_path, source, given, suffix, codec, delay):
    path = tmp_path / f"a.{suffix}"
    ffmpeg("-i", source, "-strict", "-2", "-c:a", codec, path)
    found = audio.read(path).samples
    assert lag(found, given) == delay
    assert_same(found[:, delay : delay + SAMPLES], given, codec)
    assert found.shape[1] - SAMPLES - delay <= 2048  # padding that is not stated
    if (suffix, delay) in {("m4a", 0), ("mov", 0), ("3gp", 0), ("mp3", 0), ("ogg", 0)} or codec in LOSSLESS:
        assert found.shape[1] == SAMPLES
    assert audio.probe(path).samples == found.shape[1]


@pytest.mark.parametrize(("suffix", "codec", "delay"), [*WITH_EDITS, *WITH_TIMES])
def test_a_late_start_loses_nothing_and_adds_no_silence(tmp_path, source, given, suffix, codec, delay):
    path = tmp_path / f"a.{suffix}"
    ffmpeg("-i", source, "-strict", "-2", "-af", "asetpts=PTS+0.25/TB", "-c:a", codec, path)
    found = audio.read(path).samples
    start = lag(found, given)
    if path.suffix in (".m4a", ".mp4", ".mov", ".mkv", ".webm"):
        assert "late; the time before" in audio.probe(path).warnings[0]
    # ffmpeg states the encoder delay of an MP4 only where the sound begins at the time 0.
    assert start == delay or ((suffix, codec, delay) in WITH_EDITS and 0 <= start <= 1105)
    assert_same(found[:, start : start + SAMPLES], given, codec)
    assert found.shape[1] - SAMPLES - start <= 2048


@pytest.mark.parametrize(("suffix", "codec", "delay"), [*WITH_EDITS, *WITH_TIMES])
def test_a_part_that_was_cut_without_encoding(tmp_path, source, given, suffix, codec, delay):
    whole, path = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    ffmpeg("-i", source, "-strict", "-2", "-c:a", codec, whole)
    ffmpeg("-ss", "0.26", "-t", "0.3", "-i", whole, "-strict", "-2", "-c", "copy", path)
    found = audio.read(path).samples
    start = -lag(found, given)
    if (suffix, codec, delay) in WITH_EDITS and codec != "libvorbis":
        # The edit list begins at the sample, and ends at a millisecond or with the last packet.
        assert start == 0.26 * RATE
        assert 0.3 * RATE - 48 <= found.shape[1] <= 0.3 * RATE + 4608
    first = max(0, -start) + 2048  # a lossy codec needs some packets to begin
    last = min(found.shape[1], SAMPLES - start)
    assert last - first > 8_000
    assert_same(found[:, first:last], given[:, start + first : start + last], "any")


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        *[("ogg", "libvorbis", ()), ("webm", "libvorbis", ()), ("flac", "flac", ()), ("mka", "pcm_s16le", ())],
        *[("opus", "libopus", ("-mapping_family", 1)), ("webm", "libopus", ("-mapping_family", 1))],
        *[("opus", "libopus", ("-mapping_family", 255)), ("wav", "pcm_s16le", ()), ("w64", "pcm_s16le", ())],
        *[("m4a", "aac", ()), ("ac3", "ac3", ()), ("m4a", "alac", ()), ("caf", "alac", ()), ("caf", "pcm_s16be", ())],
        *[("aiff", "pcm_s16be", ()), ("mov", "pcm_s16le", ()), ("wv", "wavpack", ()), ("ogg", "flac", ())],
    ],
)
def test_channels_have_the_order_of_a_wav(tmp_path, suffix, codec, options, channels):
    if (codec in ("ac3", "alac") and channels in (3, 7, 8)) or (codec == "libopus" and channels in (3, 4)):
        pytest.skip("the encoder does not take these channels")
    if suffix in ("caf", "aiff", "mov") and channels > 6:
        pytest.skip("ffmpeg 5 states another order than it writes")
    if channels < 3:
        options = ()
    given = tones(channels)
    soundfile.write(tmp_path / "a.wav", given.T, RATE, subtype="FLOAT")
    layout = ("-channel_layout", LAYOUTS[channels - 1])
    ffmpeg(*layout, "-i", tmp_path / "a.wav", "-strict", "-2", "-c:a", codec, *options, tmp_path / f"b.{suffix}")
    assert order(audio.read(tmp_path / f"b.{suffix}").samples) == list(range(channels))


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus"])
def test_channels_are_written_to_their_loudspeakers(tmp_path, suffix, channels):
    audio.write(tmp_path / f"a.{suffix}", tones(channels), RATE)
    ffmpeg("-i", tmp_path / f"a.{suffix}", "-c:a", "pcm_s16le", tmp_path / "b.wav")
    assert order(soundfile.read(tmp_path / "b.wav", always_2d=True)[0].T) == list(range(channels))
    assert order(audio.read(tmp_path / f"a.{suffix}").samples) == list(range(channels))


@pytest.mark.parametrize("suffix", ["caf", "aiff", "mov"])
def test_an_order_that_the_container_states(tmp_path, suffix):
    """ffmpeg states 7.1 as side before back, whatever it writes; a list of channels made PyAV end the process."""
    soundfile.write(tmp_path / "a.wav", tones(8).T, RATE, subtype="FLOAT")
    ffmpeg("-channel_layout", "7.1", "-i", tmp_path / "a.wav", "-c:a", "pcm_s16be", tmp_path / f"b.{suffix}")
    for _ in range(3):
        assert order(audio.read(tmp_path / f"b.{suffix}").samples) == [0, 1, 2, 3, 6, 7, 4, 5]


def test_alac_of_libsndfile_has_the_order_of_alac(tmp_path):
    with soundfile.SoundFile(tmp_path / "a.caf", "w", RATE, 6, format="CAF", subtype="ALAC_16") as file:
        file.write(tones(6)[[2, 0, 1, 4, 5, 3]].T)  # centre, left, right, back left, back right, low frequencies
    assert order(audio.read(tmp_path / "a.caf").samples) == list(range(6))


def tones(channels: int) -> np.ndarray:
    """A tone of 80, 100, 120, ... Hz in each channel, low enough for a channel of low frequencies."""
    time = np.arange(RATE // 4) / RATE
    return np.float32([0.1 * np.sin(2 * np.pi * (80 + 20 * channel) * time) for channel in range(channels)])


def order(found: np.ndarray) -> list[int]:
    """The number of the tone in each channel."""
    time = np.arange(RATE // 5) / RATE  # a whole number of periods of each tone
    waves = np.exp(2j * np.pi * np.outer(80 + 20 * np.arange(len(found)), time))
    return [int(np.argmax(np.abs(waves @ channel[1_500 : 1_500 + len(time)]))) for channel in found]
