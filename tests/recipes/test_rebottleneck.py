import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import narrows
from narrows.codecs import ARD, FSQ, ReBottleneck, ResidualVQ
from narrows.errors import InputError
from narrows.recipes import Schedule, run
from narrows.recipes.data.latents import media_files
from narrows.recipes.data.synthetic import write_synthetic_audio
from narrows.recipes.rebottleneck import Alignment, Embeddings, Network, rebottleneck
from narrows.recipes.settings import LatentData
from narrows.recipes.training.rebottleneck import ReBottleneckRecipe
from narrows.tokenizers.tokenizer import Tokenizer

SMALL = Network(width=8, depth=1)


def small(base: Path, **more: object) -> ReBottleneckRecipe:
    recipe = rebottleneck(str(base), **{"network": SMALL, **more})  # type: ignore[arg-type]
    return recipe.smoke()


def trained(recipe: ReBottleneckRecipe, folder: Path, **options: object) -> Tokenizer:
    return narrows.load(run(recipe.on_synthetic_data(folder / "data"), folder / "run", **options))  # type: ignore[arg-type]


def test_an_order_of_channels(tiny_checkpoint, tmp_path: Path) -> None:
    base = tiny_checkpoint()
    tokenizer = trained(small(base, structure=("ordered",)), tmp_path)
    bottleneck = tokenizer.codec.bottleneck
    assert isinstance(bottleneck, ARD)
    assert bottleneck.channels == 6  # 3 codebooks of 2 scalars
    assert bottleneck.prefixes == (1, 2, 3, 4, 5, 6)
    assert tokenizer.base is not None
    assert tokenizer.base.model == str(base)
    x = 0.1 * torch.randn(9_000)
    tokens = tokenizer.encode(x, 16_000)
    assert tokenizer.decode(tokens[:, :2]).shape == (1, 9_000)
    assert tokenizer.decompress(tokenizer.compress(tokens)) == tokens
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"valid/latents", "valid/latents_1", "valid/latents_6"} <= {key for line in metrics for key in line}


def test_codes_in_place_of_latents(tiny_checkpoint, tmp_path: Path) -> None:
    tokenizer = trained(small(tiny_checkpoint(), structure=("discrete", "ordered")), tmp_path)
    assert isinstance(tokenizer.codec.bottleneck, FSQ)
    assert tokenizer.codec.bottleneck.prefixes == tuple(range(1, 9))
    other = replace(SMALL, bottleneck="residual-vq", codebooks=2)
    again = trained(small(tiny_checkpoint(), structure=("discrete",), network=other), tmp_path / "other")
    assert isinstance(again.codec.bottleneck, ResidualVQ)


def test_latents_that_know_labels(tiny_checkpoint, tmp_path: Path) -> None:
    for name in ("anna", "bert"):
        write_synthetic_audio(tmp_path / "media" / name, 16_000, 1.0)
    data = LatentData(tmp_path / "media")
    recipe = small(tiny_checkpoint(), structure=("aligned",), data=data)
    tokenizer = narrows.load(run(recipe, tmp_path / "run"))
    assert tokenizer.base is not None
    metrics = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "valid/alignment" in metrics
    manifest = json.loads((tmp_path / "run" / "latents" / "train" / "manifest.json").read_text())
    assert manifest["classes"] == ["anna", "bert"]
    trained(small(tiny_checkpoint(), structure=("aligned",), data=data), tmp_path / "smoke")


@pytest.fixture
def resnet(tmp_path: Path) -> Path:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "resnet.safetensors")
    return tmp_path / "resnet.safetensors"


def test_images_and_video_that_know_what_a_network_sees(
    image_checkpoint: Path, tiny_video: Path, resnet: Path, tmp_path: Path
) -> None:
    for base in (image_checkpoint, tiny_video):
        alignment = Alignment("test_resnet", resnet, form="cosine")
        recipe = small(base, structure=("aligned", "equivariant"), alignment=alignment)
        tokenizer = trained(recipe, tmp_path / base.name)
        assert "valid/equivariance_flip" in (tmp_path / base.name / "run" / "metrics.jsonl").read_text()
        assert tokenizer.base is not None


def test_all_structures_and_a_discriminator(tiny_checkpoint, tmp_path: Path) -> None:
    recipe = small(
        tiny_checkpoint(),
        structure=("ordered", "equivariant"),
        transforms=("gain", "shift", "pitch"),
        adversarial=narrows.recipes.Adversarial(start=2, width=4),
    )
    assert len(recipe.discriminators) == 1
    trained(recipe, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert any("discriminator" in line for line in lines)
    assert any("valid/equivariance_pitch" in line for line in lines)


def test_a_resumed_run_equals_an_uninterrupted_one(tiny_checkpoint, tmp_path: Path) -> None:
    base = tiny_checkpoint()

    def made(steps: int) -> ReBottleneckRecipe:
        recipe = small(base, structure=("ordered", "equivariant")).on_synthetic_data(tmp_path / "data")
        return replace(recipe, schedule=replace(recipe.schedule, steps=steps, decay_fraction=0.0))

    whole = narrows.load(run(made(4), tmp_path / "whole"))
    run(made(2), tmp_path / "parts")
    shards = sorted((tmp_path / "parts" / "latents").rglob("*.parquet"))
    times = [path.stat().st_mtime_ns for path in shards]
    again = narrows.load(run(made(4), tmp_path / "parts", change=True))
    assert [path.stat().st_mtime_ns for path in shards] == times
    for name, tensor in whole.codec.state_dict().items():
        torch.testing.assert_close(again.codec.state_dict()[name], tensor, atol=1e-5, rtol=1e-5, msg=name)


def test_training_lowers_the_error_and_leaves_the_base_alone(tiny_checkpoint, tmp_path: Path) -> None:
    folder = tiny_checkpoint()
    base = narrows.load(folder)
    recipe = rebottleneck(
        str(folder),
        network=SMALL,
        data=LatentData(tmp_path / "data", crops=64, valid_crops=16, seconds=0.5, batch_size=8),
        optimizer=narrows.recipes.AdamW(lr=5e-3),
        schedule=Schedule(150, 5, 0.5, validate_every=150, ema_decay=0.9),
    ).on_synthetic_data(tmp_path / "data")
    training = recipe.training()
    (tmp_path / "run").mkdir()
    training.prepare(tmp_path / "run")
    training.start()
    z = torch.stack([training._valid_shards.example(i).z for i in range(16)])

    def errors(bottleneck: ReBottleneck) -> torch.Tensor:
        codes = bottleneck.eval().encode(z)
        decoded = [bottleneck.decode(codes[:, :k]) for k in bottleneck.prefixes]
        return torch.stack([training.losses["latents"].errors(each, z).mean() for each in decoded])

    with torch.no_grad():
        parts = recipe.codec.encoder, recipe.codec.bottleneck, recipe.codec.decoder
        before = errors(ReBottleneck(*parts))
        codec = narrows.load(run(recipe, tmp_path / "run")).codec
        after = errors(ReBottleneck(codec.encoder.inner, codec.bottleneck, codec.decoder.inner))
    assert after.sum() < 0.99 * before.sum()
    assert recipe.base.fingerprint == base.fingerprint
    assert narrows.load(folder).fingerprint == base.fingerprint


def test_the_reconstruction_may_count_all_directions_alike(tiny_checkpoint, tmp_path: Path) -> None:
    recipe = small(tiny_checkpoint(), reconstruction="latents")
    training = recipe.on_synthetic_data(tmp_path / "data").training()
    (tmp_path / "run").mkdir()
    training.prepare(tmp_path / "run")
    root = training.losses["latents"].root
    assert isinstance(root, torch.Tensor)
    assert torch.equal(root, root[0, 0] * torch.eye(8))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"structure": ("discrete",), "network": Network(bottleneck="continuous")}, "expected fsq or residual-vq"),
        ({"structure": ("equivariant",), "transforms": ("gian",)}, "gian"),
        ({"structure": ("aligned",), "alignment": Alignment("resnet18")}, "expected a teacher FILE.py:FUNCTION or"),
        ({"structure": ("orderd",)}, "expected structures of ordered, aligned, equivariant, discrete, got 'orderd'"),
        ({"base": "speach"}, "did you mean 'speech'"),
    ],
)
def test_wrong_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises((InputError, narrows.errors.ModelError), match=message):
        rebottleneck(**settings)


def test_labels_that_were_not_trained_are_refused(tiny_checkpoint, tmp_path: Path) -> None:
    for place in ("train/anna", "train/bert", "valid/anna", "valid/carl"):
        write_synthetic_audio(tmp_path / place, 16_000, 1.0)
    data = LatentData(tmp_path / "train", tmp_path / "valid")
    recipe = small(tiny_checkpoint(), structure=("aligned",), data=data)
    with pytest.raises(InputError, match="expected labels of the training data, got 'carl' in the validation data"):
        run(recipe, tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.parquet"))  # before the work


def test_embeddings_are_stored_with_the_latents(image_checkpoint: Path, resnet: Path, tmp_path: Path) -> None:
    recipe = small(image_checkpoint, structure=("aligned",), alignment=Alignment("test_resnet", resnet))
    training = recipe.on_synthetic_data(tmp_path / "data").training()
    (tmp_path / "run").mkdir()
    training.prepare(tmp_path / "run")
    example = training._shards.example(0)
    assert example.target is not None
    assert recipe.targets is not None
    x, item = training_crop(training)
    wanted = recipe.targets(training._train, x, item)
    np.testing.assert_allclose(example.target.numpy(), wanted, atol=1e-5)


def test_a_function_embeds_audio(tiny_checkpoint, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import numpy as np\n\ndef level(x):\n    return [x.std(), len(x)]\n")
    alignment = Alignment(f"{tmp_path / 'own.py'}:level")
    recipe = small(tiny_checkpoint(), structure=("aligned",), alignment=alignment)
    trained(recipe, tmp_path)
    assert recipe.targets is not None
    assert recipe.targets.dim == 2  # type: ignore[attr-defined]
    (tmp_path / "other.py").write_text("def level(x):\n    return [[x.std()]]\n")
    with pytest.raises(InputError, match="to return a finite vector, got shape"):
        small(tiny_checkpoint(), structure=("aligned",), alignment=Alignment(f"{tmp_path / 'other.py'}:level"))
    (tmp_path / "broken.py").write_text("def level(x):\n    return 1 / 0\n")
    with pytest.raises(InputError, match=r"to embed a crop of shape .*, got ZeroDivisionError: division by zero"):
        small(tiny_checkpoint(), structure=("aligned",), alignment=Alignment(f"{tmp_path / 'broken.py'}:level"))
    with pytest.raises(InputError, match="expected a function volume of"):
        small(tiny_checkpoint(), structure=("aligned",), alignment=Alignment(f"{tmp_path / 'own.py'}:volume"))


def training_crop(training) -> tuple[torch.Tensor, int]:
    from narrows.recipes.data.latents import media_crops

    recipe = training.recipe
    return media_crops(recipe.base, training._train, recipe.data, recipe.data.crops, (recipe.seed, 2)).drawn(0)


def test_no_channels_are_refused() -> None:
    with pytest.raises(InputError, match="channels"):
        Network(channels=0)


def test_other_settings_leave_the_latents_of_a_run_alone(tiny_checkpoint, tmp_path: Path) -> None:
    recipe = small(tiny_checkpoint()).on_synthetic_data(tmp_path / "data")
    run(recipe, tmp_path / "run")
    shards = sorted((tmp_path / "run" / "latents").rglob("*.parquet"))
    times = [path.stat().st_mtime_ns for path in shards]
    with pytest.raises(InputError, match="expected the settings that the run"):
        run(replace(recipe, data=replace(recipe.data, crops=9)), tmp_path / "run")
    assert [path.stat().st_mtime_ns for path in shards] == times


def test_a_run_does_not_replace_its_base(tiny_checkpoint, tmp_path: Path) -> None:
    base = narrows.load(tiny_checkpoint())
    narrows.save(tmp_path / "run" / "checkpoint", base)
    recipe = small(tmp_path / "run" / "checkpoint").on_synthetic_data(tmp_path / "data")
    with pytest.raises(InputError, match="expected an --out without the base in it"):
        run(recipe, tmp_path / "run")
    assert narrows.load(tmp_path / "run" / "checkpoint").fingerprint == base.fingerprint


def test_silence_is_refused_and_short_crops_are_not(tiny_checkpoint, tmp_path: Path) -> None:
    import soundfile

    (tmp_path / "silence").mkdir()
    soundfile.write(tmp_path / "silence" / "a.wav", np.zeros(48_000), 16_000)
    recipe = small(tiny_checkpoint())
    with pytest.raises(InputError, match="expected media whose latents vary"):
        run(replace(recipe, data=replace(recipe.data, train=tmp_path / "silence")), tmp_path / "silent-run")
    recipe = small(tiny_checkpoint(), structure=("ordered", "equivariant"), transforms=("pitch", "shift"))
    recipe = recipe.on_synthetic_data(tmp_path / "data")
    run(replace(recipe, data=replace(recipe.data, seconds=0.02)), tmp_path / "run")


def test_changed_labels_and_functions_make_the_latents_again(tiny_checkpoint, tmp_path: Path) -> None:
    write_synthetic_audio(tmp_path / "media", 16_000, 1.0)
    names = sorted(path.name for path in (tmp_path / "media").iterdir())
    (tmp_path / "own.py").write_text("def level(x):\n    return [x.std(), len(x)]\n")
    data = LatentData(tmp_path / "list.csv")

    def targets(order: int) -> list[float]:
        lines = [f"media/{name},{'ab'[(index + order) % 2]}" for index, name in enumerate(names)]
        (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines]) + "\n")
        training = small(tiny_checkpoint(), structure=("aligned",), data=data).training()
        (tmp_path / "run").mkdir(exist_ok=True)
        training.prepare(tmp_path / "run")
        found = [training._shards.example(index).target for index in range(8)]
        return [float(target.flatten()[0]) for target in found if target is not None]

    before, after = targets(0), targets(1)
    assert after == [1 - value for value in before]
    files = media_files(narrows.load(tiny_checkpoint()), tmp_path / "media")
    embeddings = Embeddings(f"{tmp_path / 'own.py'}:level", None, 16_000)
    facts = embeddings.facts(files)
    assert facts == embeddings.facts(files)
    (tmp_path / "own.py").write_text("def level(x):\n    return [2 * x.std(), len(x)]\n")
    assert embeddings.facts(files) != facts


def test_embeddings_have_one_size(tiny_checkpoint, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def cut(x):\n    return x[: len(x) // 100]\n")
    recipe = small(tiny_checkpoint(), structure=("aligned",), alignment=Alignment(f"{tmp_path / 'own.py'}:cut"))
    with pytest.raises(InputError, match="to return vectors of one size, got 160 and 80"):
        run(recipe.on_synthetic_data(tmp_path / "data"), tmp_path / "run")
