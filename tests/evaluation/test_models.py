import pickle
import shutil

import numpy as np
import pytest

import narrows
from narrows.bitstream import inspect
from narrows.checkpoints import folder
from narrows.codecs import FSQ, Codec, ConvDecoder, ConvEncoder
from narrows.errors import DamagedStream
from narrows.evaluation.models import ModelPoint, model_points
from narrows.evaluation.points import operating_points
from narrows.media.audio import Audio
from narrows.media.image import Image
from narrows.tokenizers.image import ImageTokenizer


@pytest.fixture(scope="module")
def audio_model(tiny_checkpoint):
    return str(tiny_checkpoint("small"))


@pytest.fixture(scope="module")
def image_model(image_checkpoint):
    return str(image_checkpoint)


@pytest.fixture(scope="module")
def codebook_model(tmp_path_factory):
    """An image model with 3 codebooks of 16 entries, 16 × 16 pixels per position."""
    path = tmp_path_factory.mktemp("models") / "codebooks"
    codec = Codec(ConvEncoder(8, 8), FSQ(8, (4, 4), groups=3, dropout=0.2), ConvDecoder(8, 8))
    folder.save(path, ImageTokenizer(codec))
    return str(path)


@pytest.fixture(scope="module")
def image():
    return Image(np.random.default_rng(0).integers(0, 256, (3, 70, 33)).astype(np.uint8))


@pytest.mark.parametrize(("channels", "rate"), [(1, 16_000), (2, 44_100)])
def test_audio_model(audio_model, channels, rate, tmp_path):
    recording = Audio(0.1 * np.random.default_rng(0).standard_normal((channels, rate)).astype(np.float32), rate)
    coded = {codebooks: ModelPoint(audio_model, codebooks).round_trip(recording, tmp_path) for codebooks in (1.0, 3.0)}
    for codebooks, result in coded.items():
        assert result.signal.samples.shape == recording.samples.shape
        assert (result.signal.sample_rate, result.signal.samples.dtype) == (rate, np.float32)
        assert result.codes.shape == (codebooks, 50 * channels)  # 50 frames a second
        assert result.codes.dtype == np.int64
        assert result.codes.max() < 16
    assert coded[1.0].file_bytes < coded[3.0].file_bytes
    tokens = narrows.load(audio_model).encode(recording.samples, rate)
    assert (coded[3.0].codes == np.concatenate(list(tokens.codes.numpy()), 1)).all()


def test_byte_counts_match_the_file(audio_model, tmp_path):
    point = ModelPoint(audio_model, 2.0)
    recording = Audio(np.zeros((1, 8000), np.float32), 16_000)
    coded, path = point.round_trip(recording, tmp_path), tmp_path / "coded.nrw"
    seen = inspect(path.read_bytes())
    assert coded.file_bytes == path.stat().st_size == seen.header_bytes + seen.framing_bytes + seen.payload_bytes
    assert coded.payload_bytes == seen.payload_bytes < coded.file_bytes - 20
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DamagedStream):  # the file itself is decoded
        point.decode(path)


def test_image_model_with_qualities(image_model, image, tmp_path):
    coded = [ModelPoint(image_model, quality).round_trip(image, tmp_path) for quality in (1.0, 4.5, 8.0)]
    assert [result.signal.pixels.shape for result in coded] == [image.pixels.shape] * 3
    assert coded[0].file_bytes < coded[1].file_bytes < coded[2].file_bytes
    assert all(result.codes is None and 0 < result.payload_bytes < result.file_bytes for result in coded)
    assert ModelPoint(image_model, 4.0).codebook_sizes == ()


def test_image_model_with_codebooks(codebook_model, image, tmp_path):
    coded = [ModelPoint(codebook_model, codebooks).round_trip(image, tmp_path) for codebooks in (1.0, 3.0)]
    assert [result.codes.shape for result in coded] == [(1, 5 * 3), (3, 5 * 3)]
    assert (coded[1].codes[:1] == coded[0].codes).all()
    assert coded[1].signal.pixels.shape == image.pixels.shape
    assert [point.name for point in operating_points([f"{codebook_model}@all"])] == [
        f"{codebook_model}@{codebooks}" for codebooks in (1, 2, 3)
    ]


def test_properties(audio_model):
    point, tokenizer = ModelPoint(audio_model, 2.0), narrows.load(audio_model)
    assert point.key["model"] == "small"
    assert point.key["fingerprint"] == tokenizer.fingerprint
    assert point.key["tables"] == tokenizer.tables.digest.hex()
    assert point.key["setting"] == 2
    assert point.key["versions"].startswith(f"narrows {narrows.__version__}, torch 2.")
    assert point.codebook_sizes == (16, 16)
    assert point.parameters == sum(weights.numel() for weights in tokenizer.codec.parameters())
    assert len(pickle.dumps(point)) < 1000  # the name only
    assert pickle.loads(pickle.dumps(point)) == point
    point.check()


def test_medium_is_that_of_the_model(audio_model, image_model):
    assert [ModelPoint(model).medium for model in (audio_model, image_model)] == ["audio", "image"]


def test_another_model_at_the_same_place_is_loaded(tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fingerprints = []
    for seed in (0, 1):
        shutil.rmtree("model", ignore_errors=True)
        shutil.copytree(tiny_checkpoint(f"model-{seed}", seed), "model")
        (point,) = model_points("model")
        assert point.tokenizer is point.tokenizer
        fingerprints.append(point.key["fingerprint"])
    assert fingerprints[0] != fingerprints[1]
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    shutil.copytree(tiny_checkpoint("third", 2), "model")
    assert model_points("model")[0].key["fingerprint"] not in fingerprints
