from pathlib import Path

import pytest
import torch

from narrows.codecs import (
    FSQ,
    Codec,
    FactorisedDecoder,
    FactorisedEncoder,
    SpaceTimeContext,
    WaveletDecoder,
    WaveletEncoder,
)
from narrows.errors import InputError
from narrows.recipes.data.synthetic import write_synthetic_videos
from narrows.recipes.data.videos import VideoCrops, VideoFiles
from narrows.recipes.initialization.haar import initialize_haar, initialize_haar_quantizer
from narrows.recipes.video import LAMBDAS


@pytest.fixture
def crops(tmp_path: Path) -> VideoCrops:
    write_synthetic_videos(tmp_path / "data")
    return VideoCrops(VideoFiles(tmp_path / "data"), 8, 32, 24, (0,))


def test_initialized_codec_is_a_linear_codec_whose_error_falls_with_quality(crops: VideoCrops) -> None:
    codec = Codec(FactorisedEncoder(256), SpaceTimeContext((16, 240), 1, (8, 8), 4), FactorisedDecoder(256)).eval()
    initialize_haar(codec, crops, torch.tensor(LAMBDAS))
    x = torch.stack([crops[index] for index in range(4)])
    with torch.no_grad():
        unquantized = codec.decoder(codec.encoder(x))
        worst, best = codec(x, 0).x, codec(x, 56).x
    errors = [float((y - x).square().mean()) for y in (unquantized, best, worst)]
    assert errors == sorted(errors)
    assert errors[0] < 0.02 * float(x.var())
    model = codec.bottleneck
    assert isinstance(model, SpaceTimeContext)
    assert model.persistence.abs().max() <= 1.001
    assert (model.new <= 0).all()


def test_a_quantizer_starts_from_components_of_deviation_one(crops: VideoCrops) -> None:
    codec = Codec(FactorisedEncoder(32), FSQ(32, (8, 8, 8), groups=4), FactorisedDecoder(32)).eval()
    initialize_haar_quantizer(codec, crops)
    x = torch.stack([crops[index] for index in range(24)])
    with torch.no_grad():
        z, y = codec.encoder(x), codec(x).x
    assert z[:, :8].std((0, 2, 3, 4)).sub(1).abs().max() < 0.2
    assert float((y - x).square().mean()) < 0.3 * float(x.var())


def test_other_networks_and_short_crops_are_refused(crops: VideoCrops) -> None:
    wavelets = Codec(WaveletEncoder(8, 8, 1, 8), SpaceTimeContext((4, 4), 1, (8, 8), 4), WaveletDecoder(8, 8, 1, 8))
    with pytest.raises(InputError, match="expected FactorisedEncoder and FactorisedDecoder"):
        initialize_haar(wavelets, crops, torch.tensor(LAMBDAS))
    codec = Codec(FactorisedEncoder(8), FSQ(8, (4, 4)), FactorisedDecoder(8))
    with pytest.raises(InputError, match="expected a SpaceTimeContext"):
        initialize_haar(codec, crops, torch.tensor(LAMBDAS))
    short = VideoCrops(crops.videos, 4, 32, 4, (0,))
    with pytest.raises(InputError, match="expected crops of at least 8 frames"):
        initialize_haar_quantizer(codec, short)
    with pytest.raises(InputError, match="at least 12 latent channels"):
        initialize_haar_quantizer(Codec(FactorisedEncoder(8), FSQ(8, (4,) * 3, groups=4), FactorisedDecoder(8)), crops)
