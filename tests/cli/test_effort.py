import numpy as np
import pytest
import torch

from narrows.checkpoints import folder
from narrows.codecs import Codec, LappedDecoder, LappedEncoder, SpaceChannelContext
from narrows.media import image
from narrows.recipes.data.images import ImageFiles
from narrows.recipes.data.synthetic import write_synthetic_images
from narrows.recipes.training.fit_tables import fit_entropy_model_tables
from narrows.tokenizers.image import ImageTokenizer


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder with a checkpoint "model" and the image photo.png."""
    place = tmp_path_factory.mktemp("effort")
    write_synthetic_images(place / "data")
    torch.manual_seed(0)
    codec = Codec(
        LappedEncoder(8, 6, 2, 1), SpaceChannelContext((3, 5), 1, (8, 8)), LappedDecoder(8, 6, 2, 2, 1)
    ).eval()
    for name, lambdas in {"model": (0.01,), "no-lambdas": ()}.items():
        tokenizer = ImageTokenizer(codec, lambdas)
        tokenizer.name, tokenizer.tables = "small", fit_entropy_model_tables(tokenizer, ImageFiles(place / "data"), 2)
        folder.save(place / name, tokenizer)
    image.write(place / "photo.png", np.tile(np.arange(48, dtype=np.uint8)[None, :, None], (3, 1, 40)))
    return place


def test_effort_round_trip(codec, place, images):
    made = codec("encode", images / "photo.png", "-m", images / "model", "--effort", 1, "-o", place / "p.nrw")
    assert made.code == 0, made
    decoded = codec("decode", place / "p.nrw", "-m", images / "model")
    assert decoded.code == 0, decoded
    assert image.read(place / "p.png").pixels.shape == (3, 48, 40)


def test_unsupported_effort_is_refused(refused, images, wav, model):
    photo, small, out = images / "photo.png", images / "model", ("-o", "p.nrw")
    assert "0 (none) to 5" in refused("encode", photo, "-m", small, "--effort", 10, *out, advice=False)
    assert "got effort=1" in refused("encode", photo, "-m", images / "no-lambdas", "--effort", 1, *out, advice=False)
    assert "expected --raw or --effort, got both" in refused("encode", photo, "-m", small, "--effort", 1, "--raw", *out)
    assert "got effort=1" in refused("encode", wav(), "-m", model, "--effort", 1)
