from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import narrows
from narrows.checkpoints import folder, read_classifier
from narrows.codecs import (
    ClassifierDecoder,
    ClassifierEncoder,
    ConvClassifier,
    FactorizedPrior,
    KeyCodebooks,
    KeyValueClassifier,
    NarrowedClassifier,
    ScaleHyperprior,
    StageEncoder,
    TimmClassifier,
)
from narrows.errors import DamagedStream, InputError, ModelError, WrongModel
from narrows.recipes.training.fit_tables import fit_code_tables
from narrows.tokenizers import ImageClassifier

LABELS = ("ant", "bee", "cat", "dog")


def narrowed(tail=None) -> ImageClassifier:
    torch.manual_seed(0)
    tail = ConvClassifier(4, (5, 6)) if tail is None else tail
    codec = NarrowedClassifier(
        ClassifierEncoder(3, 8, (2, 2, 2)), FactorizedPrior(3), ClassifierDecoder(3, 8, (2, 2), tail.dims[0]), tail
    )
    with torch.no_grad():
        codec.encoder.layers[-1].weight.mul_(20)
    return ImageClassifier(codec, 16, LABELS)


def key_value() -> ImageClassifier:
    torch.manual_seed(0)
    codec = KeyValueClassifier(StageEncoder(ConvClassifier(1, (5, 6)), 2), KeyCodebooks(6, 3, 16, 4), 4)
    codec.train()(torch.randn(64, 3, 16, 16))
    torch.nn.init.normal_(codec.values)
    return ImageClassifier(codec, 16, LABELS)


@pytest.fixture
def images() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (12, 3, 16, 16), np.uint8))


@pytest.fixture(params=[narrowed, key_value], ids=["narrowed", "key-value"])
def model(request, images) -> ImageClassifier:
    made = request.param()
    codes = made.codec.encode(torch.stack([made.prepared(x) for x in images]))
    made.tables, made.name = fit_code_tables(made, codes), "small"
    return made


def test_streams_are_all_that_classes_need(model: ImageClassifier, images) -> None:
    streams = model.compress(images)
    x = torch.stack([model.prepared(image) for image in images])
    with torch.no_grad():
        expected = model.codec(x).logits
    assert len({*streams}) > 6
    torch.testing.assert_close(model.classify(streams), expected)
    assert model.classify(streams[::-1]).argmax(1).tolist() == expected.argmax(1).tolist()[::-1]
    assert model.classify([]).shape == (0, 4)
    tokens = model.encode_batch(images)
    assert torch.equal(model.decompress(streams[3]).codes.long(), tokens[3].codes)


def test_a_checkpoint_classifies_the_same_streams(model: ImageClassifier, images, tmp_path: Path) -> None:
    folder.save(tmp_path, model)
    again = read_classifier(tmp_path)
    assert (again.labels, again.size, again.name) == (LABELS, 16, "small")
    assert again.compress(images) == model.compress(images)
    torch.testing.assert_close(again.classify(model.compress(images)), model.classify(model.compress(images)))
    with pytest.raises(ModelError, match=r"expected a tokenizer in .*, got a classifier of images"):
        narrows.load(tmp_path)


def test_a_timm_network_is_built_by_its_name_from_a_checkpoint(tmp_path: Path, images) -> None:
    model = narrowed(TimmClassifier("resnet10t", 4))
    model.tables = fit_code_tables(model, model.codec.encode(torch.stack([model.prepared(x) for x in images])))
    folder.save(tmp_path, model)
    assert '"name": "resnet10t"' in (tmp_path / "config.json").read_text()
    again = read_classifier(tmp_path)
    streams = model.compress(images)
    assert again.compress(images) == streams
    torch.testing.assert_close(again.classify(streams), model.classify(streams))


def test_a_tokenizer_is_no_classifier(tiny_checkpoint) -> None:
    with pytest.raises(ModelError, match=r"expected a classifier of images in .*, got a tokenizer"):
        read_classifier(tiny_checkpoint())


def test_images_of_all_kinds_are_taken(model: ImageClassifier) -> None:
    grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    (stream,) = model.compress([grey])
    assert model.compress([np.asarray(grey)[None]]) == [stream]
    assert model.compress([torch.from_numpy(np.asarray(grey)[None].copy()).float() / 127.5 - 1]) == [stream]
    assert model.classify(model.compress([grey.resize((40, 30)), grey.convert("RGB")])).shape == (2, 4)
    with pytest.raises(InputError, match=r"expected floats of 16 × 16 pixels, got \(8, 8\); resize them"):
        model.compress([torch.zeros(3, 8, 8)])


def test_other_streams_are_refused(model: ImageClassifier, images) -> None:
    (stream,) = model.compress(images[:1])
    damaged = stream[:-3] + bytes([stream[-3] ^ 1]) + stream[-2:]
    with pytest.raises(DamagedStream):
        model.classify([damaged])
    model.name = "other"
    with pytest.raises(WrongModel, match="expected other"):
        model.classify([stream])


def test_wrong_settings_are_refused(images) -> None:
    codec = narrowed().codec
    for arguments, message in {
        (16, ("a", "b")): "expected labels of 4 classes, got 2",
        (12, LABELS): r"expected a size that is a multiple of \(8, 8\), got 12",
        (16, ("a", "b", "c", "x" * 300)): "expected labels as text of at most 200",
    }.items():
        with pytest.raises(InputError, match=message):
            ImageClassifier(codec, *arguments)
    with pytest.raises(InputError, match="expected frequency tables for custom, got none"):
        narrowed().compress(images)
    encoder, decoder = ClassifierEncoder(4, 8, (2, 2, 2)), ClassifierDecoder(4, 8, (2, 2), 5)
    other = NarrowedClassifier(encoder, ScaleHyperprior(4, 16), decoder, ConvClassifier(4, (5, 6)))
    with pytest.raises(InputError, match="expected codebooks or a FactorizedPrior as the bottleneck, got ScaleHyper"):
        ImageClassifier(other, 16, LABELS)


def test_tables_follow_the_codes_and_the_density() -> None:
    """Also one-sided codes cost about their entropy; those of a learned density are the start."""
    model = narrowed()
    codes = torch.full((4000, 3, 2, 2), 2048) + torch.randint(3, 5, (4000, 3, 2, 2))
    entropies = fit_code_tables(model, codes).entropies
    assert all(1.0 <= bits < 1.1 for bits in entropies)
    few = fit_code_tables(model, codes[:1])
    p = model.codec.bottleneck.density(torch.arange(-31, 32.0).expand(1, 3, -1))[0].double()
    p = (p / p.sum(1, keepdim=True)).detach()
    near = few.frequencies[0][31] / 65536
    assert near == pytest.approx(float(20 * p[0, 31] / 24), rel=0.02)
