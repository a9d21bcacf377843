"""Lyra as a baseline. Its networks are not in this repository: tests that run them need NARROWS_LYRA."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from narrows.errors import InputError, MediaError
from narrows.evaluation.alignment import align
from narrows.evaluation.base import Unavailable
from narrows.evaluation.baselines import lyra
from narrows.evaluation.baselines.lyra import LyraBaseline
from narrows.evaluation.metrics import metric
from narrows.evaluation.points import operating_points
from narrows.media.audio import Audio
from narrows.media.table import MEDIA

SPEECH = Path(__file__).parents[3] / "examples" / "speech.wav"
BYTES = {3.2: 8, 6.0: 15, 9.2: 23}  # of a frame
PESQ = {3.2: 2.01, 6.0: 2.44, 9.2: 2.58}  # of SPEECH, with LiteRT 2.3


@pytest.fixture
def networks(monkeypatch):
    """Networks whose code is the level of a frame, in 16 steps; quantizer and generator check what they get."""

    def analyze(input_audio):
        assert (input_audio.shape, input_audio.dtype) == ((1, 320), np.float32)
        return {"output_0": np.full((1, 1, 64), input_audio.mean())}

    def quantize(input_frames, num_quantizers):
        indices = np.full((46, 1, 1), -1, np.int32)
        indices[:num_quantizers] = round(float(input_frames.mean()) * 16)
        return {"output_0": indices, "output_1": np.int32(0)}

    def decode(encoding_indices):
        assert encoding_indices.dtype == np.int32
        known = encoding_indices[encoding_indices >= 0]
        assert len(known) in (16, 30, 46)
        return {"output_0": np.full((1, 1, 64), known.mean() / 16, np.float32)}

    def generate(input_audio):
        return {"output_0": np.full((1, 320), input_audio.mean(), np.float32)}

    functions = {
        ("soundstream_encoder", "serving_default"): analyze,
        ("quantizer", "encode"): quantize,
        ("quantizer", "decode"): decode,
        ("lyragan", "serving_default"): generate,
    }
    monkeypatch.setattr(lyra, "_folder", lambda: "")
    monkeypatch.setattr(lyra, "_signatures", lambda folder, *wanted: [functions[name] for name in wanted])


@pytest.mark.parametrize("setting", BYTES)
def test_a_file_holds_the_codes_and_nothing_else(setting, networks, tmp_path):
    levels = np.array([0.25, 0.9375, 0.0], np.float32)
    recording = Audio(np.repeat(levels, 320)[None, :700], 16_000)  # the last frame is padded
    coded = LyraBaseline("lyra", setting).round_trip(recording, tmp_path)
    assert coded.file_bytes == coded.payload_bytes == 3 * BYTES[setting]
    assert (coded.codes == np.array([4, 15, 0])).all()
    assert coded.codes.shape == (2 * BYTES[setting], 3)
    assert (coded.signal.samples == np.repeat(levels, 320)).all()
    assert coded.signal.sample_rate == 16_000


def test_other_rates_are_resampled_and_channels_refused(networks, tmp_path):
    point = LyraBaseline("lyra", 6)
    coded = point.round_trip(Audio(np.full((1, 48_000), 0.5, np.float32), 48_000), tmp_path)
    assert (coded.file_bytes, coded.signal.samples.shape) == (50 * 15, (1, 16_000))
    with pytest.raises(MediaError, match="at most 1 channel for lyra, got 2; skip it"):
        point.encode(Audio(np.zeros((2, 320), np.float32), 16_000), tmp_path)


def test_packing():
    codes = np.arange(32, dtype=np.uint8).reshape(2, 16) % 16
    assert lyra.pack(codes)[:2] == b"\x01\x23"
    assert (lyra.unpack(lyra.pack(codes), 16) == codes).all()


def test_settings():
    points = operating_points(["lyra@3.2,6,9.2"])
    assert [point.name for point in points] == ["lyra@3.2", "lyra@6", "lyra@9.2"]
    assert [len(point.codebook_sizes) for point in points] == [16, 30, 46]
    assert pickle.loads(pickle.dumps(points[0])) == points[0]
    for text in ("lyra", "lyra@4", "lyra@all"):
        with pytest.raises(InputError, match="lyra"):
            operating_points([text])


def test_missing_networks(monkeypatch, tmp_path):
    monkeypatch.setattr(lyra, "require_package", lambda package: None)
    monkeypatch.delenv(lyra.VARIABLE, raising=False)
    with pytest.raises(Unavailable, match="expected the folder of Lyra's networks in NARROWS_LYRA, got none"):
        LyraBaseline("lyra", 6).check()
    monkeypatch.setenv(lyra.VARIABLE, str(tmp_path))
    (tmp_path / "quantizer.tflite").write_bytes(b"")
    with pytest.raises(Unavailable, match=r"expected soundstream_encoder\.tflite, .* \(No such file or directory\)"):
        LyraBaseline("lyra", 6).check()


def test_missing_package(monkeypatch):
    def missing(package):
        raise InputError(f"expected the package {package}")

    monkeypatch.setattr(lyra, "require_package", missing)
    with pytest.raises(Unavailable, match="expected the package ai_edge_litert"):
        LyraBaseline("lyra", 6).check()


@pytest.mark.parametrize("setting", BYTES)
def test_quality(setting, tmp_path):
    """The networks themselves: rate, no delay, and equal results in two runs."""
    point = LyraBaseline("lyra", setting)
    try:
        point.check()
    except Unavailable as missing:
        pytest.skip(str(missing))
    recording = MEDIA["audio"].read(SPEECH)
    first, second = (point.round_trip(recording, tmp_path) for _ in range(2))
    frames = -(-recording.samples.shape[1] // 320)
    assert first.file_bytes == frames * BYTES[setting]
    assert (first.signal.samples == second.signal.samples).all()
    aligned, delay = align(first.signal, recording)
    assert delay == 0
    pytest.importorskip("pesq")
    assert metric("pesq-wb").measure(recording, aligned) == pytest.approx(PESQ[setting], abs=0.05)
    assert set(point.key["networks"]) == set(lyra.FILES)
    assert point.key != replace(point, setting=9.2 if setting == 6 else 6).key
