from pathlib import Path

import numpy as np
import pytest
import torch

import narrows
from narrows.codecs import Codec, LappedDecoder, LappedEncoder, SpaceChannelContext
from narrows.errors import InputError
from narrows.recipes.data.images import PictureCrops, Pictures
from narrows.recipes.data.synthetic import made_up_pictures
from narrows.recipes.image import LAMBDAS, image
from narrows.recipes.initialization.lapped import lapped, start_lapped
from narrows.recipes.settings import AdamW, Schedule
from narrows.recipes.training.image_recipe import ImageRecipe, Photos
from narrows.recipes.training.run import run


def test_the_folding_is_orthonormal() -> None:
    fold = lapped(8)
    np.testing.assert_allclose(fold @ fold.T, np.eye(16), atol=1e-12)
    np.testing.assert_allclose(fold[:, :16] @ fold[:, 16:].T, 0, atol=1e-12)


def test_the_start_is_a_linear_codec_of_the_data(tmp_path: Path) -> None:
    made_up_pictures(tmp_path / "data")
    crops = PictureCrops(Pictures(tmp_path / "data"), 64, 24, (0,))
    codec = Codec(
        LappedEncoder(320, 6, 2, 1), SpaceChannelContext((16, 304), 1, (8, 8)), LappedDecoder(320, 6, 2, 2, 1)
    ).eval()
    start_lapped(codec, crops, torch.tensor(LAMBDAS))
    x = torch.stack([crops[index] for index in range(4)])
    with torch.no_grad():
        plain = codec.decoder(codec.encoder(x))
        worst, best = codec(x, 0).x, codec(x, 56).x
    errors = [float((y - x).square().mean()) for y in (plain, best, worst)]
    assert errors == sorted(errors)
    assert errors[0] < 0.02 * float(x.var())


def test_a_smoke_run_delivers_a_checkpoint_that_codes(tmp_path: Path) -> None:
    recipe = image()
    folder = run(recipe, tmp_path, smoke=True)
    tokenizer = narrows.load(folder)
    assert isinstance(tokenizer, narrows.ImageTokenizer)
    assert tokenizer.lambdas == LAMBDAS
    x = np.zeros((3, 30, 50), np.uint8)
    _, pixels = tokenizer.open(tokenizer.compress(tokenizer.encode(x)))
    assert pixels.shape == x.shape
    assert "valid" in (tmp_path / "smoke" / "metrics.jsonl").read_text()


def small(lambdas: tuple[float, ...] = LAMBDAS, side: int = 64) -> ImageRecipe:
    codec = Codec(LappedEncoder(8, 6, 2, 1), SpaceChannelContext((3, 5), 1, (8, 8)), LappedDecoder(8, 6, 2, 2, 1))
    return ImageRecipe("small", codec, Photos(side=side), lambdas, AdamW(), Schedule(signal=0))


@pytest.mark.parametrize("lambdas", [(0.1, 0.2), (0.0,) * 8, (float("nan"),) * 8, LAMBDAS[::-1], (*LAMBDAS[:7], 1e7)])
def test_lambdas_that_no_checkpoint_holds_are_refused(lambdas: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"lambdas=.* given, 8 rising numbers"):
        small(lambdas)


def test_crops_of_parts_of_blocks_are_refused() -> None:
    with pytest.raises(InputError, match=r"data\.side=48 given, a multiple of 32 wanted"):
        small(side=48).training()
