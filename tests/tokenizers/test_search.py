from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.codecs import Codec, ConvDecoder, ConvEncoder, LappedDecoder, LappedEncoder, SpaceChannelContext
from narrows.codecs import MeanScaleHyperprior as Hyperprior
from narrows.codecs.bottlenecks.entropy.base import EntropyModel
from narrows.errors import InputError
from narrows.recipes.data.images import ImageFiles
from narrows.recipes.data.synthetic import write_synthetic_images
from narrows.recipes.training.fit_tables import fit_entropy_model_tables
from narrows.tokenizers import search
from narrows.tokenizers.image import ImageTokenizer

Pixels = NDArray[np.uint8]
LAMBDA = 0.01


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ImageFiles:
    folder = tmp_path_factory.mktemp("pictures") / "made"
    write_synthetic_images(folder)
    return ImageFiles(folder)


@pytest.fixture(scope="module", params=["context groups", "hyperprior"])
def tokenizer(request: pytest.FixtureRequest, data: ImageFiles) -> ImageTokenizer:
    torch.manual_seed(0)
    if request.param == "hyperprior":
        codec = Codec(ConvEncoder(8, 6), Hyperprior(8, 16), ConvDecoder(8, 6))
        torch.nn.init.normal_(codec.encoder.layers[-1].weight, std=2.0)
    else:
        codec = Codec(LappedEncoder(8, 6, 2, 1), SpaceChannelContext((3, 5), 1, (8, 8)), LappedDecoder(8, 6, 2, 2, 1))
        torch.nn.init.constant_(codec.bottleneck.root_gain, 2.0)
        torch.nn.init.constant_(codec.bottleneck.inverse, 0.25)
    tokenizer = ImageTokenizer(codec, [LAMBDA])
    tokenizer.tables = fit_entropy_model_tables(tokenizer, data, 2)
    return tokenizer


@pytest.fixture
def cost(tokenizer: ImageTokenizer) -> Callable[[Pixels, int], float]:
    def cost(x: Pixels, effort: int) -> float:
        data = tokenizer.compress(tokenizer.encode_at(x, 0, effort))
        return 8 * len(data) + LAMBDA * float(
            np.square(tokenizer.decode_signal(data).pixels - x.astype(float)).mean(0).sum()
        )

    return cost


@pytest.mark.parametrize("shape", [(3, 50, 90), (1, 128, 96), (3, 1060, 20)])
def test_effort_pays(cost: Callable[[Pixels, int], float], data: ImageFiles, shape: tuple[int, int, int]) -> None:
    x = np.resize(data[0], shape)
    assert cost(x, 1) < cost(x, 0)


def test_the_same_bytes_each_time_whatever_mode_torch_is_in(tokenizer: ImageTokenizer, data: ImageFiles) -> None:
    x = data[0][:, :32, :64]
    tokens = tokenizer.encode_at(x, 0, 1)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert tokenizer.encode_at(x / np.float32(127.5) - 1, 0, 1) == tokens
    assert all(parameter.grad is None for parameter in tokenizer.codec.parameters())


def test_the_result_is_never_worse(
    tokenizer: ImageTokenizer, data: ImageFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = data[0][:, :32, :64]
    monkeypatch.setattr(search, "refine_codes", lambda model, y, *_: model.encode(y + 3))
    assert tokenizer.encode_at(x, 0, 1) == tokenizer.encode_at(x, 0)


def test_what_a_band_gains_the_picture_gains(
    tokenizer: ImageTokenizer, data: ImageFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The distortion of a band differs by as much as that of the whole picture, when only this band changes."""
    x = data[0][:, :153, :70]
    monkeypatch.setattr("narrows.tokenizers.tokens.BAND_ROWS", 4)
    tokens = tokenizer.encode_at(x, 0)
    given = torch.from_numpy(x.astype(np.float32) / 127.5 - 1)
    codec, seen = tokenizer.codec, []

    def record(
        model: EntropyModel, y: Tensor, quality: int, distortion: Callable[[Tensor], Tensor], *_: object
    ) -> Tensor:
        latents = model.decode(codes := model.encode(y, quality, bit_costs), quality)
        seen.append(float(distortion(latents + 5) - distortion(latents)))
        return codes

    bit_costs = torch.from_numpy(tokenizer.tables.bit_costs)
    monkeypatch.setattr(search, "refine_codes", record)
    tokenizer.encode_at(x, 0, 1)
    latents = torch.cat([codec.bottleneck.decode(band.long(), 0) for band in tokens.codes.split(4, 2)], 2)
    assert len(seen) == -(-latents.shape[2] // 4) > 1
    for index, expected in enumerate(seen):
        changed = latents.clone()
        changed[:, :, 4 * index : 4 * index + 4] += 5
        with torch.no_grad():
            made = [codec.decoder(z).clamp(-1, 1)[0, :, :153, :70] for z in (changed, latents)]
        errors = [float((each - given).square().mean(0).sum()) for each in made]
        assert (errors[0] - errors[1]) * LAMBDA * 127.5**2 == pytest.approx(expected, rel=1e-3, abs=0.2)


def test_a_size_is_kept_and_filled(tokenizer: ImageTokenizer, data: ImageFiles) -> None:
    if tokenizer.qualities == 1:
        return
    x = data[0][:, :32, :64]
    plain = tokenizer.encode(x, bits_per_pixel=3.0, effort=0)
    better = tokenizer.encode(x, bits_per_pixel=3.0, effort=1)
    assert 8 * len(tokenizer.compress(better)) <= 3.0 * 32 * 64
    assert better.quality_index >= plain.quality_index


def test_lambdas_are_interpolated_between_qualities(tokenizer: ImageTokenizer) -> None:
    if tokenizer.qualities == 1:
        return
    several = ImageTokenizer(tokenizer.codec, [0.01, 0.04, 0.09])
    several.tables = tokenizer.tables
    found = [several._weight(setting) for setting in (0, 14, 28, 56)]
    assert found == pytest.approx([0.01, 0.02, 0.04, 0.09])


@pytest.mark.parametrize("wrong", [-1, 6, True, 1.5])
def test_other_efforts_are_refused(tokenizer: ImageTokenizer, wrong: int) -> None:
    with pytest.raises(InputError, match=r"0 \(none\) to 5"):
        tokenizer.encode_at(np.zeros((3, 8, 8), np.uint8), 0, wrong)


@pytest.mark.parametrize("lacking", ["tables", "lambdas"])
def test_effort_needs_a_measure(tokenizer: ImageTokenizer, lacking: str) -> None:
    other = ImageTokenizer(tokenizer.codec, () if lacking == "lambdas" else tokenizer.lambdas)
    other.tables = None if lacking == "tables" else tokenizer.tables
    with pytest.raises(InputError, match=f"no {lacking}"):
        other.encode_at(np.zeros((3, 8, 8), np.uint8), 0, 1)
