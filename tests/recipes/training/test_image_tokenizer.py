import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch

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
from narrows.recipes.discriminators.patches import PatchDiscriminator
from narrows.recipes.image_tokenizer import Network, Perceptual, Semantic, image_tokenizer
from narrows.recipes.losses.images import PixelDistance, PyramidDistance
from narrows.recipes.settings import AdamW, Adversary, Schedule
from narrows.recipes.training.image_recipe import Photos
from narrows.recipes.training.run import run
from narrows.recipes.training.tokenizer_recipe import TokenizerRecipe

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def small(bottleneck: Bottleneck | None = None, transformers: bool = False) -> TokenizerRecipe:
    torch.manual_seed(0)
    pair = (LDMEncoder(8, 8, (1, 2, 2), 1, 1, 4), LDMDecoder(8, 8, (1, 2, 2), 1, 1, 4))
    if transformers:
        pair = (ViTEncoder(8, 16, 1, 2, 8, 4), ViTDecoder(8, 16, 1, 2, 8, 4))
    return TokenizerRecipe(
        name="small",
        codec=Codec(pair[0], bottleneck or FSQ(8, (5, 5), 2), pair[1]),
        data=Photos(),
        losses={"pixels": (1.0, PixelDistance()), "perceptual": (0.5, PyramidDistance(3))},
        latent_losses={},
        discriminators=[PatchDiscriminator(4)],
        optimizer=AdamW(lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0),
        schedule=Schedule(steps=10, signal=0),
        adversary=Adversary(start=5, lr=1e-3, features=0.1),
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
def test_a_smoke_run_delivers_a_checkpoint_that_codes(
    bottleneck: Bottleneck, transformers: bool, tmp_path: Path
) -> None:
    tokenizer = narrows.load(run(small(bottleneck, transformers), tmp_path, smoke=True))
    assert isinstance(tokenizer, narrows.ImageTokenizer)
    assert tokenizer.tables is not None
    x = np.zeros((3, 30, 50), np.uint8)
    tokens = tokenizer.encode(x)
    again, pixels = tokenizer.open(tokenizer.compress(tokens))
    assert again == tokens
    assert pixels.shape == x.shape
    (line,) = lines(tmp_path / "smoke")
    assert {"pixels", "perceptual", "discriminators", "score", "pull", "features", "valid/psnr"} <= line.keys()


def test_a_continuous_bottleneck_without_codes_has_no_tables(tmp_path: Path) -> None:
    tokenizer = narrows.load(run(small(Gaussian(8, 3)), tmp_path, smoke=True))
    assert isinstance(tokenizer, narrows.ImageTokenizer)
    assert tokenizer.tables is None
    assert tokenizer.narrow(np.zeros((3, 30, 50), np.uint8)).shape == (3, 8, 13)


def test_losses_that_look_through_networks_are_passed_through(tmp_path: Path) -> None:
    from safetensors.torch import save_file
    from timm import create_model

    weights = tmp_path / "weights.safetensors"
    save_file(create_model("test_resnet").state_dict(), weights)
    contrast = Semantic("test_resnet", weights).loss(8)
    assert contrast is not None
    before = contrast.head.weight.clone()
    seen = Perceptual("test_resnet", weights).loss()
    made = replace(small(), losses={"perceptual": (1.0, seen)}, latent_losses={"semantic": (1.0, contrast)})
    run(made, tmp_path / "run", smoke=True)
    (line,) = lines(tmp_path / "run" / "smoke")
    assert {"perceptual", "semantic", "pull"} <= line.keys()
    assert not torch.equal(contrast.head.weight, before)


def on(data: Path, steps: int, **changes: object) -> TokenizerRecipe:
    """The small recipe on made-up pictures."""
    made = small() if (data / "waves-0.png").exists() else small().on_made_up_data(data)
    photos = Photos(data, data, side=32, batch=4)
    return replace(made, data=photos, schedule=Schedule(steps, 0, 1, 0.0, 0.02, 25, 0.9), **changes)  # type: ignore[arg-type]


def test_training_makes_pictures_better(tmp_path: Path) -> None:
    def error(steps: int) -> float:
        made = on(tmp_path / "data", steps, adversary=Adversary(start=13))
        tokenizer = narrows.load(run(made, tmp_path / f"run-{steps}"))
        x = read(tmp_path / "data" / "waves-0.png").transpose(2, 0, 1)
        return float(np.square(tokenizer.pixels(tokenizer.encode(x)) - x.astype(float)).mean())

    assert error(15) < 0.7 * error(0)


def test_discriminators_wait_for_their_step(tmp_path: Path) -> None:
    def weights(steps: int, start: int) -> torch.Tensor:
        adversary = Adversary(start=start, lr=1e-2)
        made = on(tmp_path / "data", steps, discriminators=[PatchDiscriminator(4)], adversary=adversary)
        training = made.training()
        before = training.discriminators[0].score.weight.clone()
        run(replace(made, codec=small().codec), tmp_path / f"run-{start}")
        return (made.discriminators[0].score.weight - before).abs().max()

    assert weights(3, 3) == 0
    assert weights(3, 2) > 1e-3


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    schedule = Schedule(6, 0, 1, 0.0, 0.02, 3, 0.9)
    whole = folder.read(run(replace(on(tmp_path / "data", 6), schedule=schedule), tmp_path / "whole"))
    run(replace(on(tmp_path / "data", 3), schedule=replace(schedule, steps=3)), tmp_path / "parts")
    parts = folder.read(run(replace(on(tmp_path / "data", 6), schedule=schedule), tmp_path / "parts"))
    for name, value in whole.codec.state_dict().items():
        torch.testing.assert_close(parts.codec.state_dict()[name], value, atol=2e-3, rtol=0, msg=name)


@pytest.mark.parametrize("trunk", get_args(get_type_hints(Network)["trunk"]))
@pytest.mark.parametrize("bottleneck", get_args(get_type_hints(Network)["bottleneck"]))
def test_every_network_is_one(trunk: str, bottleneck: str) -> None:
    with torch.device("meta"):
        codec = Network(trunk, bottleneck).codec()  # type: ignore[arg-type]
    wanted = {"vq": 14, "fsq": 15.966, "multi-codebook": 96, "residual-vq": 48, "ibq": 14, "lfq": 18, "bsq": 18}
    assert codec.stride == 16
    assert codec.bottleneck.bits_per_position == pytest.approx(wanted.get(bottleneck, 16 * np.log2(33)), abs=1e-3)
    assert isinstance(codec.encoder, LDMEncoder if trunk == "ldm" else ViTEncoder)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Perceptual(weight=-1.0), "at least 0 wanted"),
        (lambda: Semantic(weight=float("nan")), "at least 0 wanted"),
        (lambda: image_tokenizer(semantic=Semantic("vit_bse_patch16_224")), "did you mean 'vit_base_patch16_224'"),
        (lambda: image_tokenizer(perceptual=Perceptual("vgg16", Path("no.safetensors"))), "that is there wanted"),
        (lambda: replace(small(), data=Photos(side=34)).training(), "a multiple of 4 wanted"),
        (lambda: Photos(side=16), "side=16 given, at least 32 wanted"),
    ],
)
def test_settings_that_cannot_be_are_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()
