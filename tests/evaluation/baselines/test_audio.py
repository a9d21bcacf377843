"""Audio baselines on two seconds of speech. Encoders that are not installed are skipped."""

import pickle
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from narrows.errors import InputError, MediaError
from narrows.evaluation.base import Unavailable
from narrows.evaluation.baselines import ffmpeg
from narrows.evaluation.baselines.audio import AUDIO_ENCODERS, AudioBaseline
from narrows.media.audio import Audio
from narrows.media.table import MEDIA

SPEECH = Path(__file__).parents[3] / "examples" / "speech.wav"
KBPS = {  # a low and a high bitrate
    "opus": (8, 32),
    "opus-voip": (8, 32),
    "aac": (16, 64),
    "mp3": (16, 64),
    "vorbis": (16, 64),
    "amr-nb": (4.75, 12.2),
    "amr-wb": (6.6, 23.85),
    "speex": (8, 24),
    "codec2": (0.7, 3.2),
}
DELAYED = {"amr-nb": 80, "amr-wb": None, "speex": 223, "codec2": None}  # samples at 16 kHz; None: not constant


@pytest.fixture(scope="module")
def speech():
    recording = MEDIA["audio"].read(SPEECH)
    return Audio(recording.samples[:, 16_000:48_000], recording.sample_rate)


def available(*point):
    baseline = AudioBaseline(*point)
    try:
        baseline.check()
    except Unavailable as missing:
        pytest.skip(str(missing))
    return baseline


def delay(reference, decoded):
    """Samples, by cross-correlation of the first channels."""
    size = 2 * max(len(reference), len(decoded))
    found = np.fft.irfft(np.fft.rfft(reference, size).conj() * np.fft.rfft(decoded, size)).argmax()
    return int(found if found < size // 2 else found - size)


def at_rate(result, sample_rate):
    return replace(result, signal=result.signal.resampled(sample_rate))


def noise(reference, decoded):
    """Energy of the error after alignment, relative to the reference."""
    decoded = decoded[max(0, delay(reference, decoded)) :][: len(reference)]
    reference = reference[: len(decoded)]
    return float(np.square(reference - decoded).sum() / np.square(reference).sum())


@pytest.mark.parametrize("family", KBPS)
def test_rate_length_and_quality(family, speech, tmp_path):
    points = [available(family, kbps) for kbps in KBPS[family]]
    coded = [at_rate(point.round_trip(speech, tmp_path), speech.sample_rate) for point in points]
    for point, result in zip(points, coded, strict=True):
        assert 0.7 * point.setting < MEDIA["audio"].rate(result.payload_bytes, speech.amount) < 1.3 * point.setting
        assert result.payload_bytes < result.file_bytes < result.payload_bytes + 6000
        assert result.codes is None
        longer = result.signal.samples.shape[1] - speech.samples.shape[1]
        assert longer == 0 or (family in DELAYED and 0 <= longer <= 640)
        found = delay(speech.samples[0], result.signal.samples[0])
        if DELAYED.get(family, 0) is not None:
            assert abs(found - DELAYED.get(family, 0)) <= 2
    if family != "codec2":  # does not preserve phases
        first, second = (noise(speech.samples[0], result.signal.samples[0]) for result in coded)
        assert second < 0.8 * first < 1


def test_flac_is_lossless(tmp_path):
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (2, 3000)).astype(np.float32) / 2**15
    for rate in (16_000, 44_100, 192_000):
        coded = AudioBaseline("flac").round_trip(Audio(samples, rate), tmp_path)
        assert (coded.signal.samples == samples).all()
        assert coded.signal.sample_rate == rate
        assert coded.file_bytes < coded.payload_bytes + 200


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (192_000, 1), (1000, 1)])
@pytest.mark.parametrize("family", ["opus", "mp3", "aac"])
def test_other_sample_rates_and_channels(family, rate, channels, tmp_path):
    time = np.arange(rate) / rate
    tones = [0.3 * np.sin(2 * np.pi * 110 * (c + 1) * time) for c in range(channels)]
    recording = Audio(np.stack(tones).astype(np.float32), rate)
    coded = at_rate(AudioBaseline(family, 128).round_trip(recording, tmp_path), rate)
    assert coded.signal.samples.shape == recording.samples.shape
    for reference, decoded in zip(recording.samples, coded.signal.samples, strict=True):
        assert noise(reference, decoded) < 0.02


def test_sample_rate_keeps_the_bandwidth():
    coder = AUDIO_ENCODERS["opus"]
    assert [coder.rate(rate) for rate in (1000, 8000, 11_025, 44_100, 96_000)] == [8000, 8000, 12_000, 48_000, 48_000]
    assert AUDIO_ENCODERS["flac"].rate(11_111) == 11_111


@pytest.mark.parametrize("family", ["opus", "aac", "mp3", "amr-nb", "flac"])
def test_one_sample(family, tmp_path):
    settings = AUDIO_ENCODERS[family].settings
    coded = available(family, settings and settings.example).round_trip(
        Audio(np.full((1, 1), 0.5, np.float32), 16_000), tmp_path
    )
    assert coded.signal.samples.shape[1] >= 1


def test_rejected_signals(tmp_path):
    with pytest.raises(MediaError, match="at most 2 channels for opus, got 3"):
        AudioBaseline("opus", 12).encode(Audio(np.zeros((3, 100), np.float32), 16_000), tmp_path)
    with pytest.raises(MediaError, match="1 samples are too few for opus"):
        AudioBaseline("opus", 12).encode(Audio(np.zeros((1, 1), np.float32), 384_000), tmp_path)
    with pytest.raises(MediaError, match=r"libopus cannot encode this recording \(Invalid argument\); use another"):
        AudioBaseline("opus", 400).encode(Audio(np.zeros((1, 100), np.float32), 16_000), tmp_path)


def test_settings():
    with pytest.raises(InputError, match=r"expected 4\.75, .* for amr-nb"):
        AudioBaseline("amr-nb", 6)
    with pytest.raises(InputError, match="lossless"):
        AudioBaseline("flac", 6)


def test_key():
    point = AudioBaseline("opus", 12)
    options = {"application": "audio", "b": "12000"}
    assert point.key == {"encoder": "libopus", "options": options, "versions": ffmpeg.PYAV.versions}
    assert f"PyAV {av.__version__}, libavcodec" in ffmpeg.PYAV.versions
    assert AudioBaseline("opus-voip", 12).key != point.key
    assert pickle.loads(pickle.dumps(point)) == point


@pytest.mark.parametrize("program", [None, "an ffmpeg with fewer encoders"])
def test_missing_encoder(program, monkeypatch):
    monkeypatch.setattr(ffmpeg, "pyav_has_encoder", lambda encoder: False)
    monkeypatch.setattr(ffmpeg.shutil, "which", lambda name: program)
    monkeypatch.setattr(ffmpeg, "_run", lambda *arguments: b" A..... aac   AAC (Advanced Audio Coding)\n")
    ffmpeg.program_encoders.cache_clear()
    with pytest.raises(Unavailable, match=r"neither PyAV .* has the encoder libopus"):
        AudioBaseline("opus", 12).check()
    if program:
        AudioBaseline("aac", 12).check()
    else:
        with pytest.raises(Unavailable, match="encoder aac"):
            AudioBaseline("aac", 12).check()
    ffmpeg.program_encoders.cache_clear()


def test_program_replaces_pyav(speech, monkeypatch, tmp_path):
    """The program encodes what PyAV cannot, with about the same result; its errors are one line."""
    if "libmp3lame" not in ffmpeg.program_encoders():
        pytest.skip("no program ffmpeg with libmp3lame")
    by_pyav = AudioBaseline("mp3", 32).round_trip(speech, tmp_path)
    monkeypatch.setattr(ffmpeg, "pyav_has_encoder", lambda encoder: False)
    by_program = AudioBaseline("mp3", 32).round_trip(speech, tmp_path)
    assert AudioBaseline("mp3", 32).key["versions"].startswith("ffmpeg version ")
    assert by_program.signal.samples.shape == speech.samples.shape
    assert by_program.payload_bytes == pytest.approx(by_pyav.payload_bytes, rel=0.05)
    assert noise(speech.samples[0], by_program.signal.samples[0]) < 0.2
    with pytest.raises(MediaError, match=r"libopus cannot encode this recording \([^[]*\); use another setting"):
        AudioBaseline("opus", 400).encode(speech, tmp_path)
