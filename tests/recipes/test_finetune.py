import shutil
from dataclasses import replace

import pytest
import torch

import narrows
from narrows import codecs
from narrows.checkpoints import folder
from narrows.cli.train import train_recipe
from narrows.errors import InputError
from narrows.recipes import run
from narrows.recipes.finetune import finetune
from narrows.recipes.registry import recipe_function
from narrows.recipes.settings import Adversarial, AudioData
from narrows.recipes.training.audio import PARTS
from narrows.tokenizers.audio import AudioTokenizer

SMALL = Adversarial(start=3, width=2)


@pytest.fixture(scope="module")
def base(tiny_checkpoint):
    return tiny_checkpoint("base")


def test_codes_stay_where_encoder_and_bottleneck_are_frozen(base, tmp_path):
    trained = narrows.load(run(finetune(str(base), adversarial=SMALL), tmp_path / "run", smoke=True))
    original = narrows.load(base)
    assert trained.name == "my-finetune"
    x = 0.1 * torch.randn(1, 16_000)
    tokens, expected = trained.encode(x, 16_000), original.encode(x, 16_000)
    assert torch.equal(tokens.codes, expected.codes)
    assert not torch.equal(trained.decode(tokens), original.decode(expected))
    for part in ("encoder", "bottleneck"):
        before = getattr(original.codec, part).state_dict()
        for name, tensor in getattr(trained.codec, part).state_dict().items():
            assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize(("freeze", "same"), [("", ()), ("decoder", ("decoder",)), ("encoder, decoder", ("encoder",))])
def test_other_parts(base, tmp_path, freeze, same):
    trained = narrows.load(run(finetune(str(base), freeze, adversarial=SMALL), tmp_path / "run", smoke=True))
    original = narrows.load(base)
    for part in ("encoder", "decoder"):
        before = getattr(original.codec, part).state_dict()
        equal = [
            torch.equal(tensor, before[name]) for name, tensor in getattr(trained.codec, part).state_dict().items()
        ]
        assert all(equal) == (part in freeze), part
    assert set(same) <= set(freeze.replace(",", "").split())


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ("encoder,decodr", "expected frozen parts of encoder, bottleneck, decoder, got 'decodr'"),
        ("encoder,bottleneck,decoder", "expected a part that is trained"),
    ],
)
def test_wrong_parts_are_refused(base, freeze, message):
    with pytest.raises(InputError, match=message):
        finetune(str(base), freeze)


def test_models_of_other_media_are_refused(image_checkpoint):
    with pytest.raises(InputError, match="expected a model of audio"):
        finetune(str(image_checkpoint))


@pytest.mark.parametrize(("one_way", "part"), [("NoEncoder", "encoder"), ("NoDecoder", "decoder")])
def test_models_of_one_way_are_refused(base, tmp_path, one_way, part):
    codec = narrows.load(base).codec
    parts = {name: getattr(codec, name) for name in PARTS}
    parts[part] = getattr(codecs, one_way)(1, codec.encoder.dim, codec.stride)
    other = AudioTokenizer(codecs.Codec(**parts), 16_000)
    other.name = "one-way"
    folder.save(tmp_path / "one-way", other)
    with pytest.raises(InputError, match=f"got one-way, which has no {part}"):
        finetune(str(tmp_path / "one-way"))


def test_frozen_parts_that_leave_no_weights_are_refused(base):
    recipe = finetune(str(base))
    codec = codecs.Codec(
        recipe.codec.encoder,
        recipe.codec.bottleneck,
        codecs.NoDecoder(1, recipe.codec.encoder.dim, recipe.codec.stride),
    )
    with pytest.raises(InputError, match="expected weights to train, got frozen parts encoder, bottleneck"):
        replace(recipe, codec=codec)


def test_a_public_model(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.DacConfig(
        encoder_hidden_size=2,
        downsampling_ratios=[2, 4, 5, 8],
        decoder_hidden_size=16,
        upsampling_ratios=[8, 5, 4, 2],
        n_codebooks=2,
        codebook_size=16,
        sampling_rate=16_000,
    )
    transformers.DacModel(config).save_pretrained(tmp_path / "dac")
    trained = run(finetune(str(tmp_path / "dac"), "", adversarial=SMALL), tmp_path / "run", smoke=True)
    shutil.rmtree(tmp_path / "dac")
    tokenizer = narrows.load(trained)
    x = 0.1 * torch.randn(1, 5000)
    assert tokenizer.decode(tokenizer.encode(x, 16_000)).shape == (1, 5000)
    assert tokenizer.tables is not None


def test_the_command_gives_the_model_to_the_recipe(base, monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(
        "narrows.recipes.training.run.run", lambda recipe, out, **options: made.append((recipe, options))
    )
    train_recipe("finetune", ["--freeze", "decoder"], tmp_path / "run", init=str(base), smoke=True)
    recipe, options = made[0]
    assert recipe.frozen == ("decoder",)
    assert recipe.name == "my-finetune"
    assert "init" not in options
    assert recipe_function("finetune") is finetune
    assert isinstance(recipe.data, AudioData)
