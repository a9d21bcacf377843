from typing import get_args, get_type_hints

import pytest
import torch

from narrows.errors import InputError
from narrows.recipes.feature_autoencoder import Network, feature_autoencoder

TRAINED = {"small": 3.6, "base": 99, "paper": 516}  # million parameters, as the documentation says


@pytest.mark.parametrize("size", get_args(get_type_hints(Network)["size"]))
def test_the_sizes_are_those_of_the_documentation(size: str) -> None:
    with torch.device("meta"):
        codec = Network(size).codec()  # type: ignore[arg-type]
    trained = sum(p.numel() for p in codec.parameters() if p.requires_grad) / 1e6
    assert trained == pytest.approx(TRAINED[size], rel=0.01)
    assert f"{TRAINED[size]} million" in (Network.__doc__ or "")
    assert codec.stride == (16, 16)
    assert len(codec.bottleneck.codebook_sizes) == 32
    if size == "paper":
        assert sum(p.numel() for p in codec.encoder.attention.parameters()) == 38_166_592


def test_wrong_settings_are_rejected() -> None:
    with pytest.raises(InputError, match="expected channels from 1 to 4096, got 0"):
        Network(channels=0)
    with pytest.raises(InputError, match="did you mean 'test_vit'"):
        feature_autoencoder(Network("small", "test_vitt"))
    with pytest.raises(InputError, match="expected noise of at least 0, got -1"):
        feature_autoencoder(Network("small", "test_vit"), noise=-1.0)
