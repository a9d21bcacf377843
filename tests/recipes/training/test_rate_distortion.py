from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import narrows
from narrows.codecs import FSQ, Codec, ConvDecoder, ConvEncoder, LappedDecoder, LappedEncoder, SpaceChannelContext
from narrows.errors import InputError
from narrows.recipes.data.synthetic import write_synthetic_images
from narrows.recipes.image import LAMBDAS, image
from narrows.recipes.settings import AdamW, ImageData, Schedule
from narrows.recipes.training import rate_distortion
from narrows.recipes.training.optimizer import adamw
from narrows.recipes.training.rate_distortion import LR_FACTORS, RateDistortionRecipe
from narrows.recipes.training.run import run


def test_smoke_run_writes_a_checkpoint_that_codes(tmp_path: Path) -> None:
    tokenizer = narrows.load(run(image(), tmp_path, smoke=True))
    assert isinstance(tokenizer, narrows.ImageTokenizer)
    assert tokenizer.lambdas == LAMBDAS
    x = np.zeros((3, 30, 50), np.uint8)
    assert tokenizer.decode_signal(tokenizer.compress(tokenizer.encode(x))).pixels.shape == x.shape
    assert "valid/bits_per_pixel-2" in (tmp_path / "metrics.jsonl").read_text()


def small(lambdas: tuple[float, ...] = LAMBDAS, crop_size: int = 64) -> RateDistortionRecipe:
    codec = Codec(LappedEncoder(8, 6, 2, 1), SpaceChannelContext((3, 5), 1, (8, 8)), LappedDecoder(8, 6, 2, 2, 1))
    return RateDistortionRecipe(name="small", codec=codec, data=ImageData(crop_size=crop_size), lambdas=lambdas)


def test_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, with random qualities and noise in each step."""
    monkeypatch.setattr(rate_distortion, "INITIALIZATION_CROPS", 24)
    monkeypatch.setattr(rate_distortion, "TABLE_IMAGES", 2)
    write_synthetic_images(tmp_path / "data")

    def trained(name: str, steps: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        data = ImageData(tmp_path / "data", tmp_path / "data", crop_size=64, batch_size=2)
        run(
            replace(small(), data=data, schedule=Schedule(steps, 1, 0.0, 0.02, 2), entropy_model_steps=2),
            tmp_path / name,
            change=True,
        )
        return torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"]

    whole = trained("whole", 6)
    trained("parts", 3)
    parts = trained("parts", 6)
    for name, value in whole.items():
        assert torch.equal(parts[name], value), name


def test_biases_norms_and_gains_do_not_decay() -> None:
    training = replace(small(), optimizer=AdamW(weight_decay=0.1)).smoke()
    codec = training.codec
    optimizer = adamw(codec, training.optimizer, {"linear": 0.1, **LR_FACTORS})
    names = {parameter: name for name, parameter in codec.named_parameters()}
    decay = {names[p]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay.keys() == set(names.values())
    for name, parameter in codec.named_parameters():
        kept = parameter.squeeze().ndim < 2 or any(part in name for part in ("linear", *LR_FACTORS))
        assert decay[name] == (0.0 if kept else 0.1), name
    assert {"bottleneck.root_gain", "bottleneck.inverse", "encoder.linear.weight"} <= {
        name for name, value in decay.items() if value == 0
    }
    assert 0.1 in decay.values()


@pytest.mark.parametrize("lambdas", [(0.1, 0.2), (0.0,) * 8, (float("nan"),) * 8, LAMBDAS[::-1], (*LAMBDAS[:7], 1e7)])
def test_wrong_lambdas_are_rejected(lambdas: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"expected lambdas of 8 increasing numbers between 0 and 1e\+06, got \["):
        small(lambdas)


def test_crop_size_that_is_no_multiple_of_the_block_is_rejected() -> None:
    with pytest.raises(InputError, match=r"expected data\.crop_size to be a multiple of 32, got 48"):
        small(crop_size=48).training()


def test_other_parts_are_rejected() -> None:
    codec = Codec(ConvEncoder(8, 6), FSQ(8, (5, 5)), ConvDecoder(8, 6))
    with pytest.raises(InputError, match=r"expected a codec of LappedEncoder .* got ConvEncoder and FSQ"):
        replace(small(), codec=codec).training()
