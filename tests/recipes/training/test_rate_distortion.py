from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import narrows
from narrows.codecs import FSQ, Codec, ConvDecoder, ConvEncoder, LappedDecoder, LappedEncoder, SpaceChannelContext
from narrows.errors import InputError
from narrows.recipes.image import LAMBDAS, image
from narrows.recipes.settings import ImageData
from narrows.recipes.training.rate_distortion import RateDistortionRecipe
from narrows.recipes.training.run import run


def test_smoke_run_writes_a_checkpoint_that_codes(tmp_path: Path) -> None:
    tokenizer = narrows.load(run(image(), tmp_path, smoke=True))
    assert isinstance(tokenizer, narrows.ImageTokenizer)
    assert tokenizer.lambdas == LAMBDAS
    x = np.zeros((3, 30, 50), np.uint8)
    assert tokenizer.decode_stream(tokenizer.compress(tokenizer.encode(x))).pixels.shape == x.shape
    assert "valid/bits_per_pixel-2" in (tmp_path / "smoke" / "metrics.jsonl").read_text()


def small(lambdas: tuple[float, ...] = LAMBDAS, crop_size: int = 64) -> RateDistortionRecipe:
    codec = Codec(LappedEncoder(8, 6, 2, 1), SpaceChannelContext((3, 5), 1, (8, 8)), LappedDecoder(8, 6, 2, 2, 1))
    return RateDistortionRecipe(name="small", codec=codec, data=ImageData(crop_size=crop_size), lambdas=lambdas)


@pytest.mark.parametrize("lambdas", [(0.1, 0.2), (0.0,) * 8, (float("nan"),) * 8, LAMBDAS[::-1], (*LAMBDAS[:7], 1e7)])
def test_wrong_lambdas_are_rejected(lambdas: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"expected lambdas of 8 increasing numbers between 0 and 1e\+06, got \["):
        small(lambdas)


def test_crop_size_that_is_no_multiple_of_the_block_is_rejected() -> None:
    with pytest.raises(InputError, match=r"expected data\.crop_size to be a multiple of 32, got 48"):
        small(crop_size=48).training()


def test_other_parts_are_rejected() -> None:
    codec = Codec(ConvEncoder(8, 6), FSQ(8, (5, 5)), ConvDecoder(8, 6))
    with pytest.raises(InputError, match=r"expected a codec of LappedEncoder .* got ConvEncoder and FSQ"):
        replace(small(), codec=codec).training()
