import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import narrows
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
    assert tokenizer.decode_signal(data).pixels.shape == x.shape
    (line,) = lines(tmp_path)
    assert {"l1", "perceptual", "discriminator", "generator", "feature_matching"} <= line.keys()
    assert {"adaptive_weight", "valid/psnr"} <= line.keys()


def test_ibq_has_the_weights_of_its_published_objective(tmp_path: Path) -> None:
    """mean (zq - z)² + mean (sg hard - z)² + β mean (hard - sg z)² + 0.05 entropy, β = 0.25 (arXiv 2412.02692)."""
    training = recipe_on(tmp_path / "data", 1, codec=small(IBQ(8, 32, 8)).codec).training()
    bottleneck = training.codec.bottleneck
    z = torch.randn(2, 8, 3, 3)
    flat, table = z.movedim(1, -1).flatten(0, -2), bottleneck.codebook
    logits = flat @ table.T
    error = (table[logits.argmax(1)] - flat).square().mean()  # all three squares have this value
    p = (logits / bottleneck.temperature).softmax(-1)
    entropy = torch.special.entr(p).sum(-1).mean() - torch.special.entr(p.mean(0)).sum()
    losses = bottleneck(z).losses
    torch.testing.assert_close(training.weighted_sum(losses), 2.25 * error + 0.05 * entropy)
    assert training.weighted_sum({"codebook": error}) == 0.25 * error


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
    (line,) = lines(tmp_path / "run")
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
        return float(np.square(tokenizer.decode_signal(tokenizer.encode(x)).pixels - x.astype(float)).mean())

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
    """Bit for bit, with random dropout and replacement of codes, with and without loading processes."""

    def trained(name: str, steps: int, workers: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        recipe = recipe_on(tmp_path / "data", steps)
        codec = Codec(recipe.codec.encoder, ResidualVQ(8, 2, 16, 4), recipe.codec.decoder)
        schedule = Schedule(steps, 1, 0.0, 0.02, 2, 0.9)
        data = replace(recipe.data, workers=workers)
        run(replace(recipe, codec=codec, schedule=schedule, data=data), tmp_path / name, change=True)
        return torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"]

    whole = trained("whole", 6, 2)
    trained("parts", 3, 0)
    parts = trained("parts", 6, 0)
    for name, value in whole.items():
        assert torch.equal(parts[name], value), name


def test_loading_processes_stay_for_the_whole_run(tmp_path: Path) -> None:
    training = replace(recipe_on(tmp_path / "data", 10), data=ImageData(tmp_path / "data", tmp_path / "data", 32, 2, 2))
    training = training.training()
    loader = training.train_dataloader()
    assert loader.persistent_workers
    batches = list(loader)
    training.step += 4
    again = list(training.train_dataloader())
    assert training.train_dataloader() is loader
    assert (len(batches), len(again)) == (10, 6)
    assert all(torch.equal(a, b) for a, b in zip(batches[4:], again, strict=True))
    loader._iterator._shutdown_workers()


def test_crop_size_that_is_no_multiple_of_the_stride_is_rejected() -> None:
    with pytest.raises(InputError, match=r"expected data\.crop_size to be a multiple of 4, got 34"):
        replace(small(), data=ImageData(crop_size=34)).training()
