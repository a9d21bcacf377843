from collections.abc import Callable
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch

from narrows.codecs import LappedEncoder, LDMEncoder, ViTEncoder
from narrows.errors import InputError
from narrows.recipes.image_tokenizer import Contrastive, Network, Perceptual, image_tokenizer


@pytest.mark.parametrize("trunk", get_args(get_type_hints(Network)["trunk"]))
@pytest.mark.parametrize("bottleneck", get_args(get_type_hints(Network)["bottleneck"]))
def test_every_network_has_its_rate_and_a_stride_of_16(trunk: str, bottleneck: str) -> None:
    package = bottleneck == "vector-quantize-pytorch"  # does not build on the meta device
    with torch.device("cpu" if package else "meta"):
        codec = Network(trunk, bottleneck).codec()  # type: ignore[arg-type]
    bits = {
        "vq": 13 if trunk == "lapped" else 14,
        "fsq": 13 if trunk == "lapped" else 15.966,
        "multi-codebook": 96,
        "residual-vq": 48,
        "ibq": 14,
        "lfq": 18,
        "bsq": 18,
    }
    bits["vector-quantize-pytorch"] = 14
    assert codec.stride == (16, 16)
    assert codec.bottleneck.bits_per_position == pytest.approx(bits.get(bottleneck, 16 * np.log2(33)), abs=1e-3)
    encoders = {"ldm": LDMEncoder, "vit": ViTEncoder, "lapped": LappedEncoder}
    assert isinstance(codec.encoder, encoders[trunk])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Perceptual(weight=-1.0), "expected weight of at least 0, got -1"),
        (lambda: Network(quantizer="SimVQ"), "expected no quantizer .* with the bottleneck 'vq'"),
        (lambda: Network("ldm", "vector-quantize-pytorch", None, {"codebook_size": 8}), "expected a quantizer with"),
        (lambda: Network("ldm", "vector-quantize-pytorch", "SimVK").codec(), "did you mean 'SimVQ'"),
        (lambda: Contrastive(weight=float("nan")), "expected weight of at least 0, got nan"),
        (
            lambda: image_tokenizer(contrastive=Contrastive("vit_bse_patch16_224")),
            "did you mean 'vit_base_patch16_224'",
        ),
        (
            lambda: image_tokenizer(perceptual=Perceptual("vgg16", Path("no.safetensors"))),
            "an existing .safetensors file",
        ),
    ],
)
def test_wrong_settings_are_rejected(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
