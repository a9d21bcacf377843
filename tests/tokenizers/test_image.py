from pathlib import Path

import numpy as np
import pytest
import torch

from narrows.checkpoints import folder
from narrows.checkpoints.load import load
from narrows.codecs import FSQ, Codec, ContextGroups, ConvDecoder, ConvEncoder, LappedDecoder, LappedEncoder
from narrows.errors import DamagedStream, InputError, StreamError, WrongModel
from narrows.recipes.made_up import made_up_pictures
from narrows.recipes.pictures import Pictures
from narrows.recipes.tables import fit_chosen
from narrows.tokenizers.image import ImageTokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ImageTokenizer:
    torch.manual_seed(0)
    data = tmp_path_factory.mktemp("pictures") / "made"
    made_up_pictures(data)
    codec = Codec(LappedEncoder(8, 6, 2, 1), ContextGroups((3, 5), 1, (8, 8)), LappedDecoder(8, 6, 2, 2, 1)).eval()
    return ImageTokenizer(codec, tables=fit_chosen(codec, Pictures(data), 2))


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 5, 70), (3, 64, 64), (3, 33, 97)])
def test_any_size_comes_back_from_tokens_and_from_bytes(tokenizer: ImageTokenizer, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    tokens = tokenizer.encode(x)
    data = tokenizer.compress(tokens)
    assert tokenizer.decompress(data) == tokens
    again, pixels = tokenizer.open(data)
    assert again == tokens
    assert pixels.shape == shape
    assert np.array_equal(pixels, tokenizer.pixels(tokens))
    assert tokenizer.decode(tokens).shape == shape
    assert torch.equal(tokenizer.encode(torch.from_numpy(x).float() / 127.5 - 1).codes, tokens.codes)


def test_tiles_give_the_codes_and_pixels_of_the_whole(tokenizer: ImageTokenizer) -> None:
    x = np.random.default_rng(1).integers(0, 256, (3, 416, 480)).astype(np.uint8)
    tiled = ImageTokenizer(tokenizer.codec, tables=tokenizer.tables, tile=16)
    assert tiled.tile < 26
    whole, pieces = tokenizer.encode(x), tiled.encode(x)
    assert (whole.codes != pieces.codes).sum() <= 1e-4 * whole.codes.numel()  # ties of rounding
    a, b = tokenizer.decode(whole), tiled.decode(whole)
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_every_flipped_byte_is_told(tokenizer: ImageTokenizer) -> None:
    data = tokenizer.compress(tokenizer.encode(np.zeros((3, 40, 40), np.uint8)))
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x55
        with pytest.raises((StreamError, WrongModel)):
            tokenizer.open(bytes(damaged))
    for length in range(len(data)):
        with pytest.raises((DamagedStream, StreamError)):
            tokenizer.open(data[:length])


def test_a_checkpoint_codes_as_the_tokenizer_that_it_was_saved_from(tokenizer: ImageTokenizer, tmp_path: Path) -> None:
    folder.save(tmp_path / "m", tokenizer.codec, "small", tables=tokenizer.tables)
    loaded = load(tmp_path / "m")
    assert isinstance(loaded, ImageTokenizer)
    x = np.random.default_rng(2).integers(0, 256, (3, 32, 32)).astype(np.uint8)
    assert loaded.open(loaded.compress(loaded.encode(x)))[1].shape == x.shape


def test_a_codec_of_codebooks_codes_images_too() -> None:
    codec = Codec(ConvEncoder(8, 6), FSQ(8, (5, 5), 2), ConvDecoder(8, 6))
    tokenizer = ImageTokenizer(codec)
    tokens = tokenizer.encode(np.zeros((3, 20, 40), np.uint8))
    assert tokens.codes.shape == (1, 2, 2, 3)
    assert tokenizer.open(tokenizer.compress(tokens))[0] == tokens


def test_what_is_no_image_or_quality_is_refused(tokenizer: ImageTokenizer) -> None:
    x = np.zeros((3, 8, 8), np.uint8)
    for bad in (x[0], x[:2], x.astype(np.int32), np.full((3, 4, 4), np.nan)):
        with pytest.raises(InputError):
            tokenizer.encode(bad)
    for quality in (0, 9):
        with pytest.raises(InputError, match="1 to 8"):
            tokenizer.encode(x, quality)
    assert tokenizer.encode_below(x, 8.0).setting == 56
    with pytest.raises(InputError, match="bits a pixel"):
        tokenizer.encode_below(x, 0.001)
