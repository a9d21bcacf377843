import pytest
import torch

from narrows.codecs import (
    VQ,
    ClassifierDecoder,
    ClassifierEncoder,
    ConvClassifier,
    EMACodebook,
    FactorizedPrior,
    Gaussian,
    KeyCodebooks,
    KeyValueClassifier,
    NarrowedClassifier,
    StageEncoder,
)
from narrows.errors import InputError
from narrows.parts import build, spec


def narrowed(cut: int = 1) -> NarrowedClassifier:
    torch.manual_seed(0)
    classifier = ConvClassifier(4, (5, 6, 7))
    strides = {1: (2, 2), 2: (2, 1)}[cut]
    decoder = ClassifierDecoder(3, 8, strides, (5, 6)[cut - 1])
    return NarrowedClassifier(ClassifierEncoder(3, 8, (2, 2, 2)), FactorizedPrior(3), decoder, classifier, cut)


def key_value() -> KeyValueClassifier:
    torch.manual_seed(0)
    return KeyValueClassifier(StageEncoder(ConvClassifier(1, (5, 6)), 2), KeyCodebooks(6, 3, 16, 4), 4)


X = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("made", [narrowed(1), narrowed(2), key_value()], ids=["narrowed", "narrowed-2", "key-value"])
def test_codes_are_all_that_logits_need(made) -> None:
    with torch.no_grad():
        made.train()(X)  # fits keys
        if isinstance(made, KeyValueClassifier):
            torch.nn.init.normal_(made.values)
        else:
            made.encoder.layers[-1].weight.mul_(20)  # else all latents are rounded to 0
        made.eval()
        codes, out = made.encode(X), made(X)
        assert codes.dtype == torch.int64
        assert torch.equal(codes, out.quantized.codes)
        torch.testing.assert_close(made.decode(codes), out.logits)
        assert out.logits.std(0).min() > 0
    again = build(spec(made)).eval()
    again.load_state_dict(made.state_dict())
    assert torch.equal(again(X).logits, out.logits)


@pytest.mark.parametrize("cut", [1, 2])
def test_features_are_those_of_the_stages_after_the_cut(cut: int) -> None:
    made = narrowed(cut)
    dims = [features.shape[1:] for features in made(X).features]
    assert dims == [(5, 8, 8), (6, 4, 4), (7, 2, 2)][cut - 1 :]
    names = {name.split(".")[2] for name in made.state_dict() if name.startswith("tail.")}
    assert names == {str(stage) for stage in range(cut, 4)}


def test_the_rate_has_a_gradient_for_the_encoder() -> None:
    made = narrowed().train()
    made(X).quantized.bits.mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in made.encoder.parameters())


def test_values_are_trained_and_encoder_and_keys_are_not() -> None:
    made = key_value().train()
    made(X)
    keys = [member.codebook.vectors.clone() for member in made.bottleneck.members]
    made(-X)
    assert not torch.equal(keys[0], made.bottleneck.members[0].codebook.vectors)
    made.bottleneck.eval()
    keys = [member.codebook.vectors.clone() for member in made.bottleneck.members]
    made(X).logits.square().sum().backward()
    assert [name for name, parameter in made.named_parameters() if parameter.requires_grad] == ["values"]
    assert all(torch.equal(a, b.codebook.vectors) for a, b in zip(keys, made.bottleneck.members, strict=True))
    assert not made.encoder.training


def test_a_step_changes_the_values_of_its_own_codes_alone() -> None:
    made = key_value().train()
    made(X)
    made.bottleneck.eval()
    torch.nn.functional.cross_entropy(made(X[:1]).logits, torch.tensor([2])).backward()
    touched = made.values.grad.abs().sum(1).nonzero().flatten().tolist()
    expected = made.encode(X[:1])[0].flatten(1) + made.offsets[:, None]
    assert touched == sorted(set(expected.flatten().tolist()))
    assert len(touched) < len(made.values)


def test_logits_are_the_mean_of_the_values_of_the_codes() -> None:
    made = KeyValueClassifier(StageEncoder(ConvClassifier(1, (6,)), 1), VQ(6, EMACodebook(6, 4)), 2)
    with torch.no_grad():
        made.values.copy_(torch.tensor([[1.0, 0], [0, 8], [3, 0], [0, 0]]))
    logits = made.decode(torch.tensor([[[[0, 1], [2, 3]]], [[[1, 1], [1, 1]]]]))
    assert logits.tolist() == [[1.0, 2.0], [0.0, 8.0]]


def test_parts_that_do_not_fit_are_refused() -> None:
    encoder, decoder = ClassifierEncoder(3, 8, (2, 2, 2)), ClassifierDecoder(3, 8, (2, 2), 5)
    prior, classifier = FactorizedPrior(3), ConvClassifier(4, (5, 6))
    for message, arguments in {
        "expected a decoder to 6 channels with 1/4": (
            encoder,
            prior,
            decoder,
            classifier,
            2,
        ),
        "expected a cut after 1 to 2": (encoder, prior, decoder, classifier, 3),
        "encoder 3, bottleneck 4": (encoder, FactorizedPrior(4), decoder, classifier, 1),
        "expected a decoder of 3": (encoder, prior, ClassifierDecoder(4, 8, (2, 2), 5), ConvClassifier(), 1),
        "a bottleneck with codes": (encoder, Gaussian(3, 2), decoder, classifier, 1),
        "expected a decoder and a classifier": (encoder, prior, decoder, torch.nn.Linear(1, 1), 1),
    }.items():
        with pytest.raises(InputError, match=message):
            NarrowedClassifier(*arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected an encoder and a bottleneck, got Linear"):
        KeyValueClassifier(torch.nn.Linear(1, 1), KeyCodebooks(6))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="strides"):
        ClassifierEncoder(strides=(3,))


def test_random_projections_are_fixed_and_nearly_undone() -> None:
    torch.manual_seed(0)
    keys = KeyCodebooks(16, 64, 8, 8)
    z = torch.randn(4, 16, 3)
    assert not list(keys.projection.parameters())
    back = keys.projection.up(keys.projection.down(z))
    assert (back - z).square().mean() < 0.1 * z.square().mean()
