import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import narrows
from narrows.checkpoints import folder
from narrows.codecs import (
    BSQ,
    FSQ,
    IBQ,
    LFQ,
    VQ,
    AttentionProjection,
    Bottleneck,
    Codec,
    Gaussian,
    LDMDecoder,
    LDMEncoder,
    LearnedCodebook,
    MultiCodebook,
    ResidualVQ,
    Rounding,
    ViTDecoder,
    ViTEncoder,
)
from narrows.errors import InputError
from narrows.media.image import read
from narrows.recipes.discriminators.patchgan import PatchGANDiscriminator
from narrows.recipes.image_tokenizer import Contrastive, Perceptual
from narrows.recipes.losses.images import LaplacianPyramidLoss
from narrows.recipes.settings import AdamW, Adversarial, ImageData, Schedule
from narrows.recipes.training.image_tokenizer import ImageTokenizerRecipe
from narrows.recipes.training.run import run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def small(bottleneck: Bottleneck | None = None, transformers: bool = False) -> ImageTokenizerRecipe:
    torch.manual_seed(0)
    pair = (LDMEncoder(8, 8, (1, 2, 2), 1, 1, 4), LDMDecoder(8, 8, (1, 2, 2), 1, 1, 4))
    if transformers:
        pair = (ViTEncoder(8, 16, 1, 2, 8, 4), ViTDecoder(8, 16, 1, 2, 8, 4))
    return ImageTokenizerRecipe(
        name="small",
        codec=Codec(pair[0], bottleneck or FSQ(8, (5, 5), 2), pair[1]),
        data=ImageData(),
        losses={"l1": (1.0, nn.L1Loss()), "perceptual": (0.5, LaplacianPyramidLoss(3))},
        latent_losses={},
        discriminators=[PatchGANDiscriminator(4)],
        optimizer=AdamW(lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0),
        schedule=Schedule(steps=10),
        adversarial=Adversarial(start=5, lr=1e-3, weight=0.5, feature_weight=0.1),
    )


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "bottleneck",
    [
        VQ(8, LearnedCodebook(4, 32, cosine=True)),
        FSQ(8, (8, 5, 5)),
        MultiCodebook(8, 2, 16, 4, AttentionProjection(8, 8, 2)),
        ResidualVQ(8, 2, 16, 4),
        IBQ(8, 32, 4),
        LFQ(8, 14),
        BSQ(8, 6),
        Gaussian(8, 3, Rounding()),
    ],
    ids=lambda bottleneck: type(bottleneck).__name__,
)
@pytest.mark.parametrize("transformers", [False, True], ids=["ldm", "vit"])
def test_smoke_run_writes_a_checkpoint_that_codes(bottleneck: Bottleneck, transformers: bool, tmp_path: Path) -> None:
    tokenizer = narrows.load(run(small(bottleneck, transformers), tmp_path, smoke=True))
    assert isinstance(tokenizer, narrows.ImageTokenizer)
    assert tokenizer.tables is not None
    x = np.zeros((3, 30, 50), np.uint8)
    tokens = tokenizer.encode(x)
    data = tokenizer.compress(tokens)
    assert tokenizer.decompress(data) == tokens
    assert tokenizer.decode_stream(data).pixels.shape == x.shape
    (line,) = lines(tmp_path / "smoke")
    assert {"l1", "perceptual", "discriminator", "generator", "feature_matching"} <= line.keys()
    assert {"adaptive_weight", "valid/psnr"} <= line.keys()


def test_continuous_bottleneck_without_codes_has_no_tables(tmp_path: Path) -> None:
    tokenizer = narrows.load(run(small(Gaussian(8, 3)), tmp_path, smoke=True))
    assert isinstance(tokenizer, narrows.ImageTokenizer)
    assert tokenizer.tables is None
    assert tokenizer.encode_latents(np.zeros((3, 30, 50), np.uint8)).values.shape == (1, 3, 8, 13)


def test_perceptual_and_contrastive_loss_are_used_and_trained(tmp_path: Path) -> None:
    from safetensors.torch import save_file
    from timm import create_model

    weights = tmp_path / "weights.safetensors"
    save_file(create_model("test_resnet").state_dict(), weights)
    contrastive = Contrastive("test_resnet", weights).loss(8)
    assert contrastive is not None
    before = contrastive.head.weight.clone()
    losses = {"perceptual": (1.0, Perceptual("test_resnet", weights).loss())}
    recipe = replace(small(), losses=losses, latent_losses={"contrastive": (1.0, contrastive)})
    run(recipe, tmp_path / "run", smoke=True)
    (line,) = lines(tmp_path / "run" / "smoke")
    assert {"perceptual", "contrastive", "adaptive_weight"} <= line.keys()
    assert not torch.equal(contrastive.head.weight, before)


def recipe_on(data: Path, steps: int, **changes: object) -> ImageTokenizerRecipe:
    """The small recipe on synthetic images."""
    recipe = small() if (data / "waves-0.png").exists() else small().on_synthetic_data(data)
    images = ImageData(data, data, crop_size=32, batch_size=4)
    return replace(recipe, data=images, schedule=Schedule(steps, 1, 0.0, 0.02, 25, 0.9), **changes)  # type: ignore[arg-type]


def test_training_lowers_the_error(tmp_path: Path) -> None:
    def error(steps: int) -> float:
        recipe = recipe_on(tmp_path / "data", steps, adversarial=Adversarial(start=13))
        tokenizer = narrows.load(run(recipe, tmp_path / f"run-{steps}"))
        x = read(tmp_path / "data" / "waves-0.png").pixels
        return float(np.square(tokenizer.pixels(tokenizer.encode(x)) - x.astype(float)).mean())

    assert error(15) < 0.7 * error(0)


def test_discriminators_are_not_trained_before_their_start(tmp_path: Path) -> None:
    def change(steps: int, start: int) -> torch.Tensor:
        discriminator = PatchGANDiscriminator(4)
        before = discriminator.last.weight.clone()
        adversarial = Adversarial(start=start, lr=1e-2)
        recipe = recipe_on(tmp_path / "data", steps, discriminators=[discriminator], adversarial=adversarial)
        run(recipe, tmp_path / f"run-{start}")
        return (discriminator.last.weight - before).abs().max()

    assert change(3, 3) == 0
    assert change(3, 2) > 1e-3


def test_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    schedule = Schedule(6, 1, 0.0, 0.02, 3, 0.9)
    whole = folder.read(run(replace(recipe_on(tmp_path / "data", 6), schedule=schedule), tmp_path / "whole"))
    run(replace(recipe_on(tmp_path / "data", 3), schedule=replace(schedule, steps=3)), tmp_path / "parts")
    parts = folder.read(run(replace(recipe_on(tmp_path / "data", 6), schedule=schedule), tmp_path / "parts"))
    for name, value in whole.codec.state_dict().items():
        torch.testing.assert_close(parts.codec.state_dict()[name], value, atol=2e-3, rtol=0, msg=name)


def test_crop_size_that_is_no_multiple_of_the_stride_is_rejected() -> None:
    with pytest.raises(InputError, match=r"expected data\.crop_size to be a multiple of 4, got 34"):
        replace(small(), data=ImageData(crop_size=34)).training()
