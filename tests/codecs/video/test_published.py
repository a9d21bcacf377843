"""Weights of the published WF-VAE load: names and shapes as its source has them. No checkpoint is at hand here."""

import pytest
import torch
from torch import Tensor

from narrows.codecs import WaveletDecoder, WaveletEncoder
from narrows.codecs.video.wavelet import from_published
from narrows.errors import InputError

RESAMPLING = {"down1.2", "down2.2", "up1.1", "up2.1"}  # of networks with one block a level


def as_published(network: WaveletEncoder | WaveletDecoder) -> dict[str, Tensor]:
    """The weights under the published names: layers that wrap another add "conv" or "norm", frames have 2-D kernels."""
    weights, found = network.state_dict(), {}
    for name, value in weights.items():
        place, _, last = name.rpartition(".")
        layer = place.rpartition(".")[2]
        if "norm" in layer:
            wrapped = ".norm"
        else:
            kernel = weights[f"{place}.weight"].shape[2:]
            flat = kernel[0] == 1 and kernel[1] == 3
            wrapped = ("" if flat else ".conv") + (".conv" if place in RESAMPLING else "")
            value = value.squeeze(2) if flat and value.ndim == 5 else value
        found[f"{place}{wrapped}.{last}"] = value
    return found


@pytest.mark.parametrize("make", [WaveletEncoder, WaveletDecoder])
@pytest.mark.parametrize("attention", [False, True])
def test_published_weights_load(make, attention: bool) -> None:
    torch.manual_seed(0)
    network, other = (make(4, 8, 1, 4, attention) for _ in range(2))
    weights = as_published(network) | {"wavelet_transform_in.h": torch.zeros(1, 1, 2, 2, 2)}
    if make is WaveletEncoder:  # the published one also has log variances
        weights["conv_out.conv.weight"] = torch.cat((network.conv_out.weight, torch.zeros(4, 32, 3, 3, 3)))
        weights["conv_out.conv.bias"] = torch.cat((network.conv_out.bias, torch.zeros(4)))
    other.load_state_dict(from_published(other, weights))
    for name, value in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_some_published_names_and_shapes() -> None:
    """Of WF-VAE with width 128 (S), from its source."""
    with torch.device("meta"):
        encoder, decoder = WaveletEncoder(8, 128, 1, 64), WaveletDecoder(8, 128, 1, 128)
    shapes = {name: tuple(value.shape) for name, value in (as_published(encoder)).items()}
    assert shapes["down1.0.weight"] == (128, 24, 3, 3)
    assert shapes["down1.2.conv.weight"] == (128, 128, 3, 3)
    assert shapes["down2.0.weight"] == (256, 192, 3, 3)
    assert shapes["down2.1.conv1.conv.weight"] == (256, 256, 3, 3, 3)
    assert shapes["down2.2.conv.conv.weight"] == (256, 256, 3, 3, 3)
    assert shapes["mid.0.nin_shortcut.conv.weight"] == (512, 320, 1, 1, 1)
    shapes = {name: tuple(value.shape) for name, value in (as_published(decoder)).items()}
    assert shapes["conv_in.conv.weight"] == (512, 8, 3, 3, 3)
    assert shapes["up2.1.conv.conv.weight"] == (512, 512, 3, 3, 3)
    assert shapes["up1.1.conv.weight"] == (256, 256, 3, 3)
    assert shapes["connect_l1.1.weight"] == (12, 128, 3, 3)
    assert shapes["conv_out.weight"] == (24, 128, 3, 3)


def test_other_weights_are_refused() -> None:
    network = WaveletDecoder(4, 8, 1, 4)
    weights = as_published(network)
    with pytest.raises(InputError, match=r"expected no other weights, got 'quant.weight'; choose the options"):
        from_published(network, weights | {"quant.weight": torch.zeros(1)})
    with pytest.raises(InputError, match=r"expected 'conv_in.conv.weight' of shape \(32, 4, 3, 3, 3\), got \(32, 5, 3"):
        from_published(network, weights | {"conv_in.conv.weight": torch.zeros(32, 5, 3, 3, 3)})
    del weights["mid.0.conv1.conv.bias"]
    with pytest.raises(
        InputError, match=r"expected weights of a WF-VAE with 'mid.0.conv1.conv.bias' or alike, got none"
    ):
        from_published(network, weights)
