import pytest
import torch

from narrows.recipes.speech import speech


def test_seed_decides_on_the_initial_weights() -> None:
    first, same, other = (speech(seed=seed).codec.state_dict()["encoder.out.weight"] for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_default_model_has_12_codebooks_and_a_stride_of_320() -> None:
    recipe = speech()
    assert recipe.codec.stride == (320,)
    assert recipe.codec.bottleneck.codebook_sizes == (1200,) * 12
    assert recipe.sample_rate / 320 * recipe.codec.bottleneck.bits_per_position == pytest.approx(6137, abs=1)
