import json

import pytest
import timm
import torch

from narrows.codecs import TimmBackbone
from narrows.errors import InputError
from narrows.parts import build, spec


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext"])
def test_features_have_the_widths_and_strides_that_are_declared(name: str) -> None:
    backbone = TimmBackbone(name)
    x = torch.rand(2, 3, 64, 96) * 2 - 1
    features = backbone.features(x)
    assert tuple(each.shape[1] for each in features) == backbone.widths
    sizes = [(64 // stride, 96 // stride) for stride in backbone.strides]
    assert [tuple(each.shape[2:]) for each in features] == sizes
    assert backbone.tokens(x).shape == (2, backbone.widths[-1], *sizes[-1])
    assert backbone(x).shape == (2, backbone.dim)


@torch.no_grad()
def test_tokens_are_timms_patch_tokens() -> None:
    torch.manual_seed(0)
    backbone = TimmBackbone("test_vit")
    theirs = timm.create_model("test_vit", num_classes=0).eval()
    theirs.load_state_dict(backbone.network.state_dict())
    pixels = torch.rand(2, 3, 160, 160)
    wanted = theirs.forward_features((pixels - 0.5) / 0.5)[:, theirs.num_prefix_tokens :]
    torch.testing.assert_close(backbone.tokens(2 * pixels - 1).flatten(2).transpose(1, 2), wanted)


def test_it_stays_frozen_but_its_input_gets_gradients() -> None:
    backbone = TimmBackbone("test_resnet").train()
    assert not any(module.training for module in backbone.modules())
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    backbone.tokens(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in backbone.parameters())


def test_a_description_makes_it_again_without_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("expected no download")

    for name in ("huggingface_hub.hf_hub_download", "torch.hub.load_state_dict_from_url", "socket.getaddrinfo"):
        monkeypatch.setattr(name, refuse)
    backbone = TimmBackbone("vit_tiny_patch16_224.augreg_in21k", 1)
    again = build(json.loads(json.dumps(spec(backbone))))
    assert again.load_state_dict(backbone.state_dict())
    x = torch.rand(1, 1, 32, 48)
    assert torch.equal(again.tokens(x), backbone.tokens(x))


@pytest.mark.parametrize("name", ["test_vitt", "hf-hub:timm/test_vit.r160_in1k", "test_vit.other", 3])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"expected a network that timm.*, got") as caught:
        TimmBackbone(name)
    assert "\n" not in str(caught.value)


def test_an_image_of_another_size_than_the_only_one_is_refused() -> None:
    backbone = TimmBackbone("test_vit_relpos")
    assert backbone.input_size == (160, 160)
    assert backbone.tokens(torch.zeros(1, 3, 160, 160)).shape == (1, 96, 10, 10)
    with pytest.raises(InputError, match=r"expected images of \(160, 160\) for test_vit_relpos, got \(64, 96\)"):
        backbone.tokens(torch.zeros(1, 3, 64, 96))
    assert TimmBackbone("test_vit").input_size is None
