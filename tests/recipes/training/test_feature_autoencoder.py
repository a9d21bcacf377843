import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor

import narrows
from narrows.codecs import FSQ, Codec, FeatureDecoder, FeatureEncoder, TimmBackbone, ViTDecoder, ViTEncoder
from narrows.errors import InputError, ModelError
from narrows.recipes.discriminators.patchgan import PatchGANDiscriminator
from narrows.recipes.feature_autoencoder import Network, feature_autoencoder
from narrows.recipes.training.feature_autoencoder import FeatureAutoencoderRecipe, FeatureAutoencoderTraining
from narrows.recipes.training.run import run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def small(weights: Path | None = None, **settings: Any) -> FeatureAutoencoderRecipe:
    network = Network("small", "test_vit", weights, pretrained=weights is not None, channels=16)
    return replace(feature_autoencoder(network, **settings), discriminators=[PatchGANDiscriminator(4)])


def trained_weights(folder: Path) -> Path:
    from safetensors.torch import save_file

    torch.manual_seed(7)
    path = folder / "backbone.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), path)
    return path


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_smoke_run_writes_a_checkpoint_that_codes(tmp_path: Path) -> None:
    weights = trained_weights(tmp_path)
    tokenizer = narrows.load(run(small(weights), tmp_path / "run", smoke=True))
    assert isinstance(tokenizer, narrows.ImageTokenizer)
    x = np.zeros((3, 30, 50), np.uint8)
    data = tokenizer.compress(tokenizer.encode(x))
    assert tokenizer.decode_signal(data).pixels.shape == x.shape
    assert tokenizer.encode_latents(x).values.shape == (1, 16, 2, 4)
    (line,) = lines(tmp_path / "run")
    assert {"l1", "perceptual", "kl", "features", "generator", "valid/psnr", "valid/feature_error"} <= line.keys()
    expected = timm.models.load_state_dict(str(weights))
    for name, tensor in tokenizer.codec.encoder.backbone.network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-3)  # stored as float16


def test_a_smoke_run_needs_no_weights_and_a_real_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    recipe = replace(small(), pretrained=True)
    assert isinstance(recipe.smoke().on_synthetic_data(tmp_path / "data"), FeatureAutoencoderRecipe)
    recipe.smoke().on_synthetic_data(tmp_path / "data").training().start()
    training = recipe.on_synthetic_data(tmp_path / "data").training()
    with pytest.raises(ModelError, match="cannot download the weights of test_vit"):
        training.start()


def training_on(folder: Path, **changes: Any) -> FeatureAutoencoderTraining:
    recipe = replace(small().on_synthetic_data(folder / "data"), **changes)
    training = recipe.training()
    training.start()
    return training


@pytest.mark.parametrize("first_phase", [True, False])
def test_the_pixel_decoder_and_the_rest_have_losses_of_their_own(first_phase: bool, tmp_path: Path) -> None:
    training = training_on(tmp_path, decoded_start=1 if first_phase else 0)
    codec, x = training.codec, torch.rand(2, 3, 32, 32) * 2 - 1
    quantized, y = training.coded(x)
    y.square().mean().backward(retain_graph=True)
    with_gradient = {name for name, p in codec.named_parameters() if p.grad is not None}
    assert with_gradient == {name for name, _ in codec.named_parameters() if name.startswith("decoder.pixels.")}
    codec.zero_grad()
    training.weighted_sum(quantized.losses).backward()
    for name, parameter in codec.named_parameters():
        other = name.startswith(("decoder.pixels.", "encoder.backbone."))
        assert (parameter.grad is None) == other, name


def test_the_pixel_decoder_sees_noisy_features_first_and_decoded_ones_later(tmp_path: Path) -> None:
    training = training_on(tmp_path, decoded_start=1, noise=0.25)
    codec, x, seen = training.codec, torch.rand(8, 3, 64, 64) * 2 - 1, list[Tensor]()
    assert isinstance(codec.decoder, FeatureDecoder)
    codec.decoder.pixels.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    features = codec.encoder.features(x)
    training.coded(x)
    assert float((seen[0] - features).std()) == pytest.approx(0.25, rel=0.05)
    training.step += 1
    torch.manual_seed(3)
    quantized, _ = training.coded(x)
    torch.testing.assert_close(seen[1], codec.decoder.features(quantized.latents))
    error = (seen[1] - features).square().mean()
    torch.testing.assert_close(quantized.losses["features"], error)


def test_the_backbone_is_shared_with_the_ema_and_does_not_change(tmp_path: Path) -> None:
    training = training_on(tmp_path)
    backbone = training.codec.encoder.backbone
    assert training.ema.encoder.backbone is backbone
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with torch.no_grad():
        for parameter in training.codec.parameters():
            if parameter.requires_grad:
                parameter.add_(1)
    training.update_ema(100)
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    (trained,) = training.configure_optimizers()[:1]
    held = {id(p) for group in trained.param_groups for p in group["params"]}
    assert not held & {id(p) for p in backbone.parameters()}


def test_training_lowers_the_errors_of_features_and_pixels(tmp_path: Path) -> None:
    training = training_on(tmp_path, noise=0.1)
    torch.manual_seed(0)
    x = torch.nn.functional.interpolate(torch.rand(4, 3, 6, 6) * 2 - 1, (48, 48), mode="bilinear")
    optimizer = torch.optim.AdamW([p for p in training.codec.parameters() if p.requires_grad], 3e-3)
    values = []
    for _ in range(40):
        quantized, y = training.coded(x)
        losses = quantized.losses | training.values(training.losses, y, x)
        values.append({name: float(loss) for name, loss in losses.items()})
        optimizer.zero_grad()
        training.weighted_sum(losses).backward()
        optimizer.step()
    assert values[-1]["features"] < 0.6 * values[0]["features"]
    assert values[-1]["l1"] < 0.8 * values[0]["l1"]
    with torch.no_grad():  # the whole codec decodes it, too
        assert (training.codec.eval()(x).x - x).abs().mean() < 0.9 * values[0]["l1"]


def test_other_codecs_are_refused() -> None:
    recipe = small()
    other = Codec(ViTEncoder(8, 16, 1, 2, 16, 4), FSQ(8, (5, 5)), ViTDecoder(8, 16, 1, 2, 16, 4))
    with pytest.raises(InputError, match="expected a codec of a FeatureEncoder and a FeatureDecoder, got ViTEncoder"):
        replace(recipe, codec=other)
    pixels = ViTDecoder(32, 16, 1, 2, 16, 4)
    pair = (FeatureEncoder(TimmBackbone("test_vit"), 8, 1, 8), FeatureDecoder(pixels, 8, 1, 2))
    with pytest.raises(InputError, match="expected features of one number of channels, got 64 of the backbone, 32"):
        replace(recipe, codec=Codec(pair[0], FSQ(8, (5, 5)), pair[1]))
