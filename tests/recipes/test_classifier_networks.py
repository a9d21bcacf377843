from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from narrows.codecs import ConvClassifier, StageEncoder, TimmClassifier
from narrows.errors import InputError, ModelError, PartError
from narrows.recipes.classifier_networks import classifier_network, load_weights


def test_names_are_of_parts_and_of_timm() -> None:
    part = classifier_network("conv-classifier", 3, {"widths": [4, 5]})
    assert isinstance(part, ConvClassifier)
    assert (part.classes, part.dims) == (3, (4, 5))
    assert isinstance(classifier_network("resnet10t", 3, {}), TimmClassifier)
    with pytest.raises(InputError, match="expected no options of the timm network 'resnet10t'"):
        classifier_network("resnet10t", 3, {"widths": [4]})
    with pytest.raises(PartError, match="conv-classifier has no argument 'width'"):
        classifier_network("conv-classifier", 3, {"width": [4]})


@pytest.mark.parametrize("name", ["conv-classifier", "resnet10t"])
def test_weights_are_loaded_from_a_file(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained, other = classifier_network(name, 3, {}).eval(), classifier_network(name, 3, {}).eval()
    network = trained.network if isinstance(trained, TimmClassifier) else trained
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    load_weights(other, tmp_path / "w.safetensors")
    x = torch.rand(2, 3, 64, 64)
    assert torch.equal(other(x), trained(x))
    first = StageEncoder(classifier_network(name, 1, {}), 2).eval()  # its last stages are not needed
    load_weights(first.classifier, tmp_path / "w.safetensors")
    assert torch.equal(first(x), trained.outputs(x)[1])
    with pytest.raises(ModelError, match=r"expected the tensor .* of shape \(7.* got one of \(3"):
        load_weights(classifier_network(name, 7, {}), tmp_path / "w.safetensors")


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    made = ConvClassifier(3, (4,))
    with pytest.raises(InputError, match=r"expected an existing \.safetensors file as weights"):
        load_weights(made, tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match="cannot be read"):
        load_weights(made, tmp_path / "bad.safetensors")
    state = made.state_dict()
    save_file({key: value for key, value in state.items() if "2.weight" not in key}, tmp_path / "few.safetensors")
    with pytest.raises(
        ModelError,
        match=r"the tensor blocks\.1\.2\.weight of shape \(3, 4\) of ConvClassifier in .*, got none",
    ):
        load_weights(made, tmp_path / "few.safetensors")
    state["blocks.1.2.bias"][0] = torch.nan
    save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(ModelError, match="expected finite weights"):
        load_weights(made, tmp_path / "nan.safetensors")
