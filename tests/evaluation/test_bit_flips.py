import numpy as np
import pytest
import soundfile

import narrows
from narrows.checkpoints import folder
from narrows.codecs import FSQ, Codec, ConvDecoder, ConvEncoder
from narrows.errors import InputError
from narrows.evaluation.bit_flips import BitFlips
from narrows.evaluation.items import find_items
from narrows.evaluation.models import ModelPoint
from narrows.evaluation.points import operating_points
from narrows.evaluation.run import Plan, run
from narrows.media.audio import Audio
from narrows.media.image import Image
from narrows.media.table import MEDIA
from narrows.tokenizers.image import ImageTokenizer


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    return str(tiny_checkpoint("small"))  # 3 codebooks of 16


@pytest.fixture(scope="module")
def recording():
    return Audio(0.1 * np.random.default_rng(0).standard_normal((1, 32_000)).astype(np.float32), 16_000)


def test_fraction_of_flipped_bits(model, recording, tmp_path, monkeypatch):
    point = ModelPoint(model, 2.0)
    tokenizer, seen = narrows.load(model), []
    monkeypatch.setattr(type(tokenizer), "decode_signal", lambda self, tokens: seen.append(tokens) or recording)
    path = point.encode(recording, tmp_path)
    damaged = BitFlips(point, 0.1)
    damaged.decode(path)
    damaged.decode(path)
    BitFlips(point, 1e-9).decode(path)
    first, second, none = (tokens.codes.numpy() for tokens in seen)
    assert np.array_equal(first, second)
    whole = tokenizer.decompress(path.read_bytes()).codes.numpy()
    assert np.array_equal(none, whole)
    bits = np.unpackbits((first ^ whole).astype(np.uint8)[..., None], axis=-1).sum()
    expected = 0.1 * whole.size * 4
    assert abs(bits - expected) < 5 * expected**0.5
    assert 0 <= first.min() <= first.max() < 16


def test_image_codes(tmp_path, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "codebooks"
    folder.save(path, ImageTokenizer(Codec(ConvEncoder(8, 8), FSQ(8, (3, 5), groups=2), ConvDecoder(8, 8))))
    image = Image(np.random.default_rng(0).integers(0, 256, (3, 40, 33)).astype(np.uint8))
    point = ModelPoint(str(path))
    coded = BitFlips(point, 0.4).round_trip(image, tmp_path)
    assert coded.signal.pixels.shape == (3, 40, 33)
    assert not np.array_equal(coded.signal.pixels, point.round_trip(image, tmp_path).signal.pixels)


def test_invalid_probabilities_are_rejected(model):
    for p in (0, 1, -0.1, float("nan")):
        with pytest.raises(InputError, match="probability between 0 and 1"):
            BitFlips(ModelPoint(model, 3.0), p)


def test_run_with_several_probabilities(model, recording, tmp_path):
    soundfile.write(tmp_path / "a.wav", recording.samples[0], recording.sample_rate)
    points = operating_points([f"{model}@1,3"])
    plan = Plan(points, find_items([tmp_path / "a.wav"], MEDIA["audio"]), ["snr"], bit_flips=(0.01, 0.3), speed=False)
    measured = run(plan, tmp_path / "cache", 1)
    assert set(measured.bit_flips) == {point.name for point in points}
    for name, results in measured.bit_flips.items():
        assert [point.setting for point in results.points] == [0.01, 0.3]
        assert results.families == [f"{name}+bit-flips"]
        assert len(results.item_results) == 2
    assert {point.family for point in measured.results.points} == {model}
    assert [[use.size for use in point.codebooks] for point in measured.results.points] == [[16], [16] * 3]
    assert not any(point.codebooks for results in measured.bit_flips.values() for point in results.points)
