"""Checks of the losses and discriminators of a recipe."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from narrows.codecs import VQ, Codec, FrameDecoder, FrameEncoder, LearnedCodebook
from narrows.errors import InputError
from narrows.recipes.discriminators.patchgan import PatchGANDiscriminator
from narrows.recipes.image_tokenizer import image_tokenizer
from narrows.recipes.training.audio import AudioRecipe

Recipes = Callable[..., AudioRecipe]


class Returns(nn.Module):
    """A loss whose value is given."""

    def __init__(self, value: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor, target: Tensor) -> Any:
        return self.value(x)


@pytest.mark.parametrize("loss", [1.0, nn.L1Loss(), (nn.L1Loss(), 1.0), ("1", nn.L1Loss()), (1.0,), (1.0, abs)])
@pytest.mark.parametrize("field", ["losses", "frame_losses"])
def test_a_loss_is_a_pair_of_a_weight_and_a_module(tiny: Recipes, field: str, loss: object) -> None:
    with pytest.raises(InputError, match=r"expected the loss 'own' to be a pair of a weight and a torch.nn.Module, su"):
        tiny(**{field: {"own": loss}})


def test_losses_of_latents_are_checked_too() -> None:
    with pytest.raises(InputError, match="expected the loss 'own' to be a pair of a weight"):
        replace(image_tokenizer(), latent_losses={"own": (float("nan"), nn.L1Loss())})


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "generator", "loss", "values", 3])
def test_reserved_names_of_losses_are_refused(tiny: Recipes, name: str) -> None:
    with pytest.raises(InputError, match=r"expected another name of a loss than .*; rename it"):
        tiny(losses={name: (1.0, nn.L1Loss())})


def test_two_losses_of_one_name_are_refused(tiny: Recipes) -> None:
    pair = {"one": (1.0, nn.L1Loss())}
    with pytest.raises(InputError, match="expected losses of different names, got 'one' twice"):
        tiny(losses=pair, frame_losses=pair)
    codec = Codec(FrameEncoder(8, 16, 1), VQ(8, LearnedCodebook(4, 16)), FrameDecoder(8, 16, 1, iterations=1))
    with pytest.raises(InputError, match="of different names, got 'commitment', which the bottleneck has; rename it"):
        tiny(codec=codec, losses={"commitment": (1.0, nn.L1Loss())}).training()


def test_a_loss_has_its_own_weight(tiny: Recipes) -> None:
    training = tiny(losses={"kl": (0.5, nn.L1Loss())}).training()  # FSQ has no such loss
    assert training.weighted_sum({"kl": torch.tensor(2.0)}) == 1.0


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (lambda x: x.square().mean((1, 2)), r"torch.float32 of shape \(3,\)"),
        (lambda x: x.mean()[None], r"torch.float32 of shape \(1,\)"),
        (lambda x: x.argmax(), r"torch.int64 of shape \(\)"),
        (lambda x: 1.0, "no array but float"),
        (lambda x: None, "no array but NoneType"),
    ],
)
def test_a_loss_returns_a_scalar(tiny: Recipes, value: Callable[[Tensor], Any], got: str) -> None:
    training = tiny(losses={"own": (1.0, Returns(value))}).training()
    x = torch.zeros(3, 1, 320)
    with pytest.raises(InputError, match=rf"loss 'own' \(Returns\) to return a float.* of shape \(\), got {got}; ret"):
        training.values(training.losses, x, x)


@pytest.mark.parametrize("discriminators", [PatchGANDiscriminator(4), [3], 3])
def test_discriminators_are_a_list_of_modules(tiny: Recipes, discriminators: object) -> None:
    with pytest.raises(InputError, match=r"expected discriminators to be a list of torch.nn.Module, got"):
        tiny(discriminators=discriminators)


def test_weights_of_bottleneck_losses_are_numbers(tiny: Recipes) -> None:
    with pytest.raises(InputError, match=r"expected a number as bottleneck_loss_weights\['commitment'\], got None"):
        tiny(bottleneck_loss_weights={"commitment": None})
