"""Parity with the package `vocos` (Siuzdak, MIT), and what its decoders add to the contract of networks."""

import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from narrows.codecs import (
    VQ,
    AdaptiveVocosDecoder,
    Codec,
    EMACodebook,
    LogMelEncoder,
    NoEncoder,
    Residual,
    VocosDecoder,
)
from narrows.errors import InputError


@pytest.fixture
def vocos(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package, without `encodec`, of which only the name is needed."""
    stub = ModuleType("encodec")
    stub.EncodecModel = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "encodec", stub)
    return pytest.importorskip("vocos")


def randomised(module: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval().requires_grad_(False)


def weights(backbone: nn.Module, head: nn.Module) -> dict:
    stored = backbone.state_dict() | {f"head.{key}": value for key, value in head.state_dict().items()}
    return {key: value for key, value in stored.items() if key != "head.istft.window"}


@pytest.mark.parametrize(("centred", "padding"), [(True, "center"), (False, "same")])
def test_mel_spectra_are_those_of_vocos(vocos: ModuleType, centred: bool, padding: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 64 * 20)
    reference = vocos.feature_extractors.MelSpectrogramFeatures(8000, 256, 64, 20, padding)
    expected = reference(x)[..., :20]  # without the frame at the end, if frames are centred
    found = LogMelEncoder(20, 8000, 256, 64, centred)(x[:, None])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("centred", "padding"), [(True, "center"), (False, "same")])
@pytest.mark.parametrize("frames", [5, 40])
def test_decoding_is_that_of_vocos(vocos: ModuleType, centred: bool, padding: str, frames: int) -> None:
    backbone = randomised(vocos.models.VocosBackbone(20, 32, 48, 3))
    head = randomised(vocos.heads.ISTFTHead(32, 256, 64, padding))
    decoder = VocosDecoder(20, 32, 48, 3, 256, 64, centred).eval()
    assert decoder.load_state_dict(weights(backbone, head))
    z = torch.randn(2, 20, frames)
    expected = head(backbone(z))
    found = decoder(z)[:, 0]
    assert found.shape[1] == frames * 64
    assert expected.shape[1] == (frames - 1 if centred else frames) * 64
    torch.testing.assert_close(found[:, : expected.shape[1]], expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


def test_each_quality_is_a_bandwidth_of_vocos(vocos: ModuleType) -> None:
    backbone = randomised(vocos.models.VocosBackbone(20, 32, 48, 2, adanorm_num_embeddings=4))
    head = randomised(vocos.heads.ISTFTHead(32, 256, 64, "same"))
    decoder = AdaptiveVocosDecoder(20, 32, 48, 2, 256, 64).eval()
    assert decoder.load_state_dict(weights(backbone, head))
    z = torch.randn(4, 20, 9)
    each = [head(backbone(z[i : i + 1], bandwidth_id=torch.tensor([i]))) for i in range(4)]
    scale = float(max(x.abs().max() for x in each))
    for i in range(4):
        torch.testing.assert_close(decoder(z[i : i + 1], i)[:, 0], each[i], atol=1e-5 * scale, rtol=0)
    torch.testing.assert_close(decoder(z, torch.arange(4))[:, 0], torch.cat(each), atol=1e-5 * scale, rtol=0)
    with pytest.raises(InputError, match="0 to 3"):
        decoder(z, 4)


def test_the_number_of_codebooks_chooses_the_quality() -> None:
    torch.manual_seed(0)
    groups = [Residual(8, [VQ(8, EMACodebook(8, 16)) for _ in range(count)], 0.0) for count in (2, 2, 4)]
    decoder = randomised(AdaptiveVocosDecoder(8, 12, 16, 1, 64, 16, qualities=3))
    codec = Codec(NoEncoder(1, 8, (16,)), Residual(8, groups), decoder).eval()
    assert codec.bottleneck.prefixes == (2, 4, 8)
    codes = torch.randint(16, (1, 8, 5))
    for index, count in enumerate((2, 4, 8)):
        latents = codec.bottleneck.decode(codes[:, :count])
        assert torch.equal(codec.decode(codes[:, :count]), decoder(latents, index))
        assert not torch.equal(decoder(latents, index), decoder(latents, (index + 1) % 3))
    with pytest.raises(InputError, match="2, 4, 8 codebooks, got 3"):
        codec.decode(codes[:, :3])
