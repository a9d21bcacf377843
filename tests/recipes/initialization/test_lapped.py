from pathlib import Path

import numpy as np
import torch

from narrows.codecs import Codec, LappedDecoder, LappedEncoder, SpaceChannelContext
from narrows.recipes.data.images import ImageCrops, ImageFiles
from narrows.recipes.data.synthetic import write_synthetic_images
from narrows.recipes.image import LAMBDAS
from narrows.recipes.initialization.lapped import initialize_lapped, lapped_fold


def test_fold_is_orthonormal() -> None:
    fold = lapped_fold(8)
    np.testing.assert_allclose(fold @ fold.T, np.eye(16), atol=1e-12)
    np.testing.assert_allclose(fold[:, :16] @ fold[:, 16:].T, 0, atol=1e-12)


def test_initialized_codec_is_a_linear_codec_whose_error_falls_with_quality(tmp_path: Path) -> None:
    write_synthetic_images(tmp_path / "data")
    crops = ImageCrops(ImageFiles(tmp_path / "data"), 64, 24, (0,))
    codec = Codec(
        LappedEncoder(320, 6, 2, 1), SpaceChannelContext((16, 304), 1, (8, 8)), LappedDecoder(320, 6, 2, 2, 1)
    ).eval()
    initialize_lapped(codec, crops, torch.tensor(LAMBDAS))
    x = torch.stack([crops[index] for index in range(4)])
    with torch.no_grad():
        unquantized = codec.decoder(codec.encoder(x))
        worst, best = codec(x, 0).x, codec(x, 56).x
    errors = [float((y - x).square().mean()) for y in (unquantized, best, worst)]
    assert errors == sorted(errors)
    assert errors[0] < 0.02 * float(x.var())
