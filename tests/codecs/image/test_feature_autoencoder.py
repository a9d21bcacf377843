import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import narrows
from narrows.codecs import Codec, FeatureDecoder, FeatureEncoder, Gaussian, Rounding, TimmBackbone, ViTDecoder
from narrows.codecs.image.feature_autoencoder import MergedAttention
from narrows.errors import InputError
from narrows.parts import build, spec


def small(stride: int = 16) -> Codec:
    torch.manual_seed(0)
    encoder = FeatureEncoder(TimmBackbone("test_vit"), 8, 2, 16, stride)
    decoder = FeatureDecoder(ViTDecoder(64, 16, 1, 2, stride, 4), 8, 1, 2)
    return Codec(encoder, Gaussian(8, 3, Rounding()), decoder).eval()


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("features", "dim", "heads", "head_dim"), [(64, 8, 2, 16), (1536, 64, 24, 256)])
def test_the_encoder_is_one_attention_layer(features: int, dim: int, heads: int, head_dim: int) -> None:
    hidden = heads * head_dim
    with torch.device("meta"):
        found = count(MergedAttention(features, dim, heads, head_dim))
    assert found == 4 * (features * hidden + hidden) + hidden * dim + dim
    if features == 1536:
        assert round(found / 1e6, 2) == 38.17  # of the paper
    encoder = small().encoder
    trained = {name.split(".")[0] for name, p in encoder.named_parameters() if p.requires_grad}
    assert trained == {"attention"}


@torch.no_grad()
def test_the_attention_layer_computes_its_formula() -> None:
    torch.manual_seed(0)
    layer = MergedAttention(6, 3, 2, 4)
    x = torch.randn(1, 6, 2, 3)
    rows = layer.project_in(x[0].flatten(1).T)  # (6 positions, 4 × 8)
    q, k, v, skip = rows.split(8, 1)
    attended = [(q[:, part] @ k[:, part].T / 4**0.5).softmax(1) @ v[:, part] for part in (slice(0, 4), slice(4, 8))]
    wanted = layer.project_out(nn.functional.gelu(torch.cat(attended, 1) + skip))
    torch.testing.assert_close(layer(x)[0].flatten(1).T, wanted)


def test_the_backbone_gets_no_gradients_and_the_rest_does() -> None:
    codec = small().train()
    codec(torch.rand(2, 3, 32, 48)).x.square().mean().backward()
    for name, parameter in codec.named_parameters():
        assert (parameter.grad is None) == name.startswith("encoder.backbone."), name
    assert not codec.encoder.backbone.training


@torch.no_grad()
def test_features_and_latents_have_one_grid() -> None:
    codec = small(stride=8)  # images are doubled for patches of 16
    x = torch.rand(1, 3, 32, 48) * 2 - 1
    assert codec.encoder.features(x).shape == (1, 64, 4, 6)
    z = codec.encoder(x)
    assert z.shape == (1, 8, 4, 6)
    assert codec.decoder.features(z).shape == (1, 64, 4, 6)
    assert codec.decoder(z).shape == x.shape
    doubled = nn.functional.interpolate(x, (64, 96), mode="bicubic", antialias=True)
    torch.testing.assert_close(codec.encoder.features(x), codec.encoder.backbone.tokens(doubled))


@torch.no_grad()
def test_the_feature_decoder_knows_positions() -> None:
    decoder = small().decoder
    z = torch.randn(1, 8, 1, 1).expand(1, 8, 1, 3).clone()
    z[..., 1] += 1  # the first and the last see the same set of latents, from different sides
    features = decoder.features(z)
    assert not torch.allclose(features[..., 0], features[..., 2], atol=1e-4)


@pytest.mark.parametrize("size", [(30, 50), (16, 97), (3, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_size_are_coded(size: tuple[int, int], channels: int) -> None:
    tokenizer = narrows.ImageTokenizer(small())
    x = np.random.default_rng(0).integers(0, 256, (channels, *size), np.uint8)
    tokens = tokenizer.encode(x)
    assert tokens.codes.shape[1:] == (3, -(-size[0] // 16), -(-size[1] // 16))
    data = tokenizer.compress(tokens)
    assert tokenizer.decompress(data) == tokens
    assert tokenizer.decode_signal(data).pixels.shape == x.shape
    assert tokenizer.encode_latents(x).values.shape[1] == 3


def test_a_checkpoint_is_loaded_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = narrows.ImageTokenizer(small())
    tokenizer.name = "small"
    narrows.save(tmp_path / "small", tokenizer)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("expected no download")

    for name in ("huggingface_hub.hf_hub_download", "socket.getaddrinfo"):
        monkeypatch.setattr(name, refuse)
    again = narrows.load(tmp_path / "small")
    assert isinstance(again, narrows.ImageTokenizer)
    x = np.random.default_rng(0).integers(0, 256, (3, 40, 56), np.uint8)
    assert torch.equal(again.encode(x).codes, tokenizer.encode(x).codes)
    assert torch.equal(again.decode(again.encode(x)), tokenizer.decode(tokenizer.encode(x)))
    assert not any(p.requires_grad for p in again.codec.encoder.backbone.parameters())
    assert json.loads(json.dumps(spec(again.codec))) == json.loads(json.dumps(spec(build(spec(again.codec)))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeatureEncoder(ViTDecoder(8, 16, 1, 2, 4, 3)), "expected backbone to be a TimmBackbone, got ViTDec"),
        (
            lambda: FeatureEncoder(TimmBackbone("test_vit_relpos")),
            "expected a backbone for all image sizes",
        ),
        (lambda: FeatureEncoder(TimmBackbone("test_vit"), heads=0), "expected heads to be an integer from 1"),
        (lambda: FeatureDecoder(TimmBackbone("test_vit")), "expected pixels to be a decoder of images, got Timm"),
        (lambda: FeatureDecoder(ViTDecoder(8, 16, 1, 2, 4, 3), heads=4), "expected heads of a multiple of 4 channels"),
    ],
)
def test_parts_that_do_not_fit_are_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
