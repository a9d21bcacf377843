import pytest
import torch

from narrows.codecs import ConvClassifier, StageEncoder, TimmClassifier
from narrows.errors import InputError, PartError
from narrows.parts import build, spec

TIMM = ("resnet18", "convnext_atto", "efficientnet_lite0", "regnetx_002", "mobilenetv3_small_050")


@pytest.mark.parametrize("name", TIMM)
def test_stages_of_timm_networks_give_what_timm_gives(name: str) -> None:
    torch.manual_seed(0)
    made = TimmClassifier(name, 3).eval()
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        outputs = made.outputs(x)
        normal = ((x + 1) / 2 - made.mean) / made.std
        expected = made.network.forward_intermediates(normal, intermediates_only=True)
        torch.testing.assert_close(outputs[-1], made.network(normal))
    assert [(f.shape[1], 64 // f.shape[2]) for f in outputs[:-1]] == list(zip(made.dims, made.strides, strict=True))
    assert len(outputs) == made.stages == len(expected) + 1
    for ours, theirs in zip(outputs[:-1], expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_names_and_networks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected a network that timm.list_models\(\) lists, got 'resnet19'; did"):
        TimmClassifier("resnet19")
    with pytest.raises(InputError, match=r"timm\.list_models"):
        TimmClassifier("hf-hub:timm/resnet18")
    with pytest.raises(InputError, match="whose modules run one after another, such as resnet18, got 'vit_tiny"):
        TimmClassifier("vit_tiny_patch16_224", 2)
    with pytest.raises(PartError, match="conv-classifier cannot be built"):
        build({"part": "conv-classifier", "widths": []})


@pytest.mark.parametrize("make", [lambda: ConvClassifier(4, (5, 6, 7)), lambda: TimmClassifier("resnet10t", 4)])
def test_a_network_goes_on_from_the_features_of_any_stage(make) -> None:
    torch.manual_seed(0)
    made = make().eval()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        outputs = made.outputs(x)
        for stage in range(1, made.stages):
            assert torch.equal(made.outputs(outputs[stage - 1], stage)[-1], outputs[-1])
            assert torch.equal(made.outputs(x, 0, stage)[-1], outputs[stage - 1])
    assert spec(build(spec(made))) == spec(made)


@pytest.mark.parametrize("make", [lambda: ConvClassifier(4, (5, 6, 7)), lambda: TimmClassifier("resnet10t", 4)])
def test_removed_stages_leave_no_weights_and_the_others_work(make) -> None:
    torch.manual_seed(0)
    made = make().eval()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        outputs = made.outputs(x)
        before = sum(parameter.numel() for parameter in made.parameters())
        encoder = StageEncoder(made, 2).eval()
        kept = sum(parameter.numel() for parameter in made.parameters())
        assert 0 < kept < before
        assert torch.equal(encoder(x), outputs[1])
        assert (encoder.dim, encoder.stride) == (made.dims[1], (made.strides[1],) * 2)
    again = build(spec(encoder))
    assert again.state_dict().keys() == encoder.state_dict().keys()
    made.remove_stages(range(2))
    assert not list(made.parameters())


def test_a_cut_has_features_before_and_after_it() -> None:
    for stages in (0, 4, True):
        with pytest.raises(InputError, match="expected a cut after 1 to 3 stages"):
            StageEncoder(ConvClassifier(4, (5, 6, 7)), stages)
    with pytest.raises(InputError, match="expected a Classifier, got Linear"):
        StageEncoder(torch.nn.Linear(1, 1))  # type: ignore[arg-type]
