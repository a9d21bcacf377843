"""Against two seconds of speech. An encoder that is not here is skipped: which there are is the machine's."""

import pickle
from pathlib import Path

import av
import numpy as np
import pytest

from narrows.errors import InputError, MediaError
from narrows.evaluation.base import Sound, Unavailable
from narrows.evaluation.baselines import ffmpeg
from narrows.evaluation.baselines.audio import CODERS, AudioPeer
from narrows.evaluation.media import MEDIA

SPEECH = Path(__file__).parents[3] / "examples" / "speech.wav"
KBPS = {  # low and high, and what their files may add to the nominal rates: short files weigh their headers
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
DELAYED = {"amr-nb": 80, "amr-wb": None, "speex": 223, "codec2": None}  # samples at 16 kHz; None: not a fixed number


@pytest.fixture(scope="module")
def speech():
    sound = MEDIA["audio"].read(SPEECH)
    return Sound(sound.samples[:, 16_000:48_000], sound.rate)


def here(*point):
    peer = AudioPeer(*point)
    try:
        peer.check()
    except Unavailable as missing:
        pytest.skip(str(missing))
    return peer


def delay(reference, decoded):
    """Samples, by cross-correlation of the first channels."""
    size = 2 * max(len(reference), len(decoded))
    found = np.fft.irfft(np.fft.rfft(reference, size).conj() * np.fft.rfft(decoded, size)).argmax()
    return int(found if found < size // 2 else found - size)


def noise(reference, decoded):
    """Energy of what a shift does not explain, over that of the reference."""
    decoded = decoded[max(0, delay(reference, decoded)) :][: len(reference)]
    reference = reference[: len(decoded)]
    return float(np.square(reference - decoded).sum() / np.square(reference).sum())


@pytest.mark.parametrize("family", KBPS)
def test_rate_length_and_quality(family, speech, tmp_path):
    points = [here(family, kbps) for kbps in KBPS[family]]
    coded = [point.code(speech, tmp_path) for point in points]
    for point, each in zip(points, coded, strict=True):
        assert 0.7 * point.setting < MEDIA["audio"].rate(each.payload_bytes, speech.amount) < 1.3 * point.setting
        assert each.payload_bytes < each.file_bytes < each.payload_bytes + 6000
        assert each.signal.rate == speech.rate
        assert each.codes is None
        longer = each.signal.samples.shape[1] - speech.samples.shape[1]
        assert longer == 0 or (family in DELAYED and 0 <= longer <= 640)
        found = delay(speech.samples[0], each.signal.samples[0])
        if DELAYED.get(family, 0) is not None:
            assert abs(found - DELAYED.get(family, 0)) <= 2
    if family != "codec2":  # which keeps no phases
        first, second = (noise(speech.samples[0], each.signal.samples[0]) for each in coded)
        assert second < 0.8 * first < 1


def test_flac_is_lossless(tmp_path):
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (2, 3000)).astype(np.float32) / 2**15
    for rate in (16_000, 44_100, 192_000):
        coded = AudioPeer("flac").code(Sound(samples, rate), tmp_path)
        assert (coded.signal.samples == samples).all()
        assert coded.signal.rate == rate
        assert coded.file_bytes < coded.payload_bytes + 200


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (192_000, 1), (1000, 1)])
@pytest.mark.parametrize("family", ["opus", "mp3", "aac"])
def test_other_rates_and_channels_come_back(family, rate, channels, tmp_path):
    time = np.arange(rate) / rate
    tones = [0.3 * np.sin(2 * np.pi * 110 * (c + 1) * time) for c in range(channels)]
    sound = Sound(np.stack(tones).astype(np.float32), rate)
    coded = AudioPeer(family, 128).code(sound, tmp_path)
    assert coded.signal.rate == rate
    assert coded.signal.samples.shape == sound.samples.shape
    for reference, decoded in zip(sound.samples, coded.signal.samples, strict=True):
        assert noise(reference, decoded) < 0.02


def test_a_rate_that_keeps_everything():
    coder = CODERS["opus"]
    assert [coder.rate(rate) for rate in (1000, 8000, 11_025, 44_100, 96_000)] == [8000, 8000, 12_000, 48_000, 48_000]
    assert CODERS["flac"].rate(11_111) == 11_111


@pytest.mark.parametrize("family", ["opus", "aac", "mp3", "amr-nb", "flac"])
def test_one_sample(family, tmp_path):
    usual = CODERS[family].scale
    coded = here(family, usual and usual.usual).code(Sound(np.full((1, 1), 0.5, np.float32), 16_000), tmp_path)
    assert coded.signal.samples.shape[1] >= 1


def test_what_cannot_be_coded(tmp_path):
    with pytest.raises(MediaError, match="3 channels given, opus takes 2 at most"):
        AudioPeer("opus", 12).encode(Sound(np.zeros((3, 100), np.float32), 16_000), tmp_path)
    with pytest.raises(MediaError, match="too short for opus"):
        AudioPeer("opus", 12).encode(Sound(np.zeros((1, 1), np.float32), 384_000), tmp_path)
    with pytest.raises(MediaError, match=r"libopus cannot code this sound \(Invalid argument\); give another"):
        AudioPeer("opus", 400).encode(Sound(np.zeros((1, 100), np.float32), 16_000), tmp_path)


def test_settings():
    with pytest.raises(InputError, match="amr-nb takes"):
        AudioPeer("amr-nb", 6)
    with pytest.raises(InputError, match="lossless"):
        AudioPeer("flac", 6)


def test_the_key_tells_what_results_depend_on():
    point = AudioPeer("opus", 12)
    options = {"application": "audio", "b": "12000"}
    assert point.key == {"encoder": "libopus", "options": options, "versions": ffmpeg.PYAV.versions}
    assert f"PyAV {av.__version__}, libavcodec" in ffmpeg.PYAV.versions
    assert AudioPeer("opus-voip", 12).key != point.key
    assert pickle.loads(pickle.dumps(point)) == point


@pytest.mark.parametrize("program", [None, "an ffmpeg with less"])
def test_an_encoder_that_is_missing(program, monkeypatch):
    monkeypatch.setattr(ffmpeg, "pyav_has", lambda encoder: False)
    monkeypatch.setattr(ffmpeg.shutil, "which", lambda name: program)
    monkeypatch.setattr(ffmpeg, "_run", lambda *arguments: b" A..... aac   AAC (Advanced Audio Coding)\n")
    ffmpeg.program_encoders.cache_clear()
    with pytest.raises(Unavailable, match=r"neither PyAV .* has the encoder libopus"):
        AudioPeer("opus", 12).check()
    if program:
        AudioPeer("aac", 12).check()
    else:
        with pytest.raises(Unavailable, match="encoder aac"):
            AudioPeer("aac", 12).check()
    ffmpeg.program_encoders.cache_clear()


def test_the_program_stands_in(speech, monkeypatch, tmp_path):
    """What PyAV lacks the program does, with the same result up to versions; its refusals are one line."""
    if "libmp3lame" not in ffmpeg.program_encoders():
        pytest.skip("no program ffmpeg with libmp3lame")
    ours = AudioPeer("mp3", 32).code(speech, tmp_path)
    monkeypatch.setattr(ffmpeg, "pyav_has", lambda encoder: False)
    theirs = AudioPeer("mp3", 32).code(speech, tmp_path)
    assert AudioPeer("mp3", 32).key["versions"].startswith("ffmpeg version ")
    assert theirs.signal.samples.shape == speech.samples.shape
    assert theirs.payload_bytes == pytest.approx(ours.payload_bytes, rel=0.05)
    assert noise(speech.samples[0], theirs.signal.samples[0]) < 0.2
    with pytest.raises(MediaError, match=r"libopus cannot code this sound \([^[]*\); give another setting"):
        AudioPeer("opus", 400).encode(speech, tmp_path)
