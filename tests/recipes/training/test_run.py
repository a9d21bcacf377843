import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import narrows
from narrows.checkpoints import folder
from narrows.codecs import (
    FSQ,
    IBQ,
    LFQ,
    VQ,
    AttentionProjection,
    Bottleneck,
    Codec,
    DitheredFSQ,
    EMACodebook,
    FrameDecoder,
    FrameEncoder,
    Gaussian,
    LearnedCodebook,
    MultiCodebook,
    Nested,
    Ordered,
    ResidualVQ,
    Rounding,
    SplitResidualVQ,
)
from narrows.errors import InputError
from narrows.recipes.discriminators.periods import MultiPeriodDiscriminator
from narrows.recipes.discriminators.spectra import MultiSpectrumDiscriminator
from narrows.recipes.losses.frames import FrameMagnitudes
from narrows.recipes.losses.spectral import ComplexDistance, SpectralDistance
from narrows.recipes.settings import AdamW, Adversary, Recipe, Schedule, Sound
from narrows.recipes.speech import speech
from narrows.recipes.training.audio import Training
from narrows.recipes.training.run import run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def small(seed: int = 0) -> Recipe:
    torch.manual_seed(seed)
    return replace(
        speech(),
        codec=Codec(FrameEncoder(16, 16, 1), FSQ(16, (5, 5), 4, dropout=0.5), FrameDecoder(16, 16, 1, rounds=1)),
        losses={"spectral": (1.0, SpectralDistance(16_000, [(512, 40)])), "waveform": (0.5, ComplexDistance(512))},
        frame_losses={"frames": (1.0, FrameMagnitudes())},
        discriminators=[*MultiPeriodDiscriminator((2, 3), 2), *MultiSpectrumDiscriminator((256,), 2)],
    )


@pytest.fixture(scope="module")
def smoked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a smoke run: `checkpoint`, and `data` to train on."""
    return run(small(), tmp_path_factory.mktemp("run"), smoke=True).parent


def recipe(data: Path, steps: int, every: int = 3, seed: int = 0) -> Recipe:
    made = small(seed).smoke()
    schedule = replace(made.schedule, steps=steps, validate_every=every, fall=0.0)
    return replace(made, data=replace(made.data, train=data, valid=data), schedule=schedule)


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_smoke_run_delivers_a_checkpoint_that_codes(smoked: Path) -> None:
    tokenizer = narrows.load(smoked / "checkpoint")
    assert tokenizer.tables is not None
    tokens = tokenizer.encode_file(smoked / "data" / "vowel-0.wav")
    assert tokenizer.decode(tokenizer.decompress(tokenizer.compress(tokens))).shape == (1, 32_000)
    assert (smoked / "last.ckpt").exists()
    assert [line["step"] for line in lines(smoked)] == [3, 6]
    assert {"frames", "spectral", "waveform", "score", "features", "valid/spectral"} <= lines(smoked)[1].keys()


def test_a_smoke_run_leaves_a_run_in_the_same_folder_alone(smoked: Path, tmp_path: Path) -> None:
    run(recipe(smoked / "data", 1), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    run(small(1), tmp_path, smoke=True)
    assert all(path.read_bytes() == data for path, data in before.items())


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(smoked: Path, tmp_path: Path) -> None:
    """Two epochs at once, and one after the other, give the same weights."""
    whole = folder.read(run(recipe(smoked / "data", 6), tmp_path / "whole"))
    run(recipe(smoked / "data", 3), tmp_path / "parts")
    parts = folder.read(run(recipe(smoked / "data", 6), tmp_path / "parts"))
    for name, value in whole.codec.state_dict().items():
        torch.testing.assert_close(parts.codec.state_dict()[name], value, atol=1e-3, rtol=0, msg=name)
    assert [line["step"] for line in lines(tmp_path / "parts")] == [3, 6]


def test_a_run_goes_on_with_another_schedule_and_ends_once(smoked: Path, tmp_path: Path) -> None:
    run(recipe(smoked / "data", 3), tmp_path)
    run(recipe(smoked / "data", 7, every=2), tmp_path)
    made = run(recipe(smoked / "data", 7, every=2), tmp_path)
    assert [line["step"] for line in lines(tmp_path)] == [3, 5, 7]
    before = (made / "model.safetensors").read_bytes()
    run(recipe(smoked / "data", 2), tmp_path)  # fewer than were done: nothing is trained, nothing is lost
    assert (made / "model.safetensors").read_bytes() == before


def test_a_run_that_cannot_go_on_is_refused(smoked: Path, tmp_path: Path) -> None:
    run(recipe(smoked / "data", 1), tmp_path)
    other = Codec(FrameEncoder(16, 16, 2), FSQ(16, (5, 5), 4), FrameDecoder(16, 16, 1, rounds=1))
    with pytest.raises(InputError, match=r"cannot go on .*encoder.blocks.1"):
        run(replace(recipe(smoked / "data", 4), codec=other), tmp_path)
    with pytest.raises(InputError, match="holds a run already"):
        run(recipe(smoked / "data", 4), tmp_path, init=str(smoked / "checkpoint"))
    (tmp_path / "last.ckpt").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot go on"):
        run(recipe(smoked / "data", 4), tmp_path)


@pytest.mark.parametrize(
    "bottleneck",
    [
        VQ(16, LearnedCodebook(4, 32)),
        ResidualVQ(16, 2, 32, 4),
        SplitResidualVQ(VQ(16, EMACodebook(4, 32)), ResidualVQ(16, 2, 32, 4)),
        MultiCodebook(16, 2, 16, 4, AttentionProjection(16, 8, 2)),
        IBQ(16, 32, 4),
        LFQ(16, 6),
        Nested(Gaussian(16, 4), FSQ(16, (5, 5))),
        Ordered([Gaussian(16, 1, Rounding()) for _ in range(3)]),
        DitheredFSQ(16, (5, 5), 2),
    ],
    ids=lambda bottleneck: type(bottleneck).__name__,
)
def test_any_bottleneck_trains_saves_and_codes(bottleneck: Bottleneck, smoked: Path, tmp_path: Path) -> None:
    made = recipe(smoked / "data", 2, every=2)
    codec = Codec(made.codec.encoder, bottleneck, made.codec.decoder)
    folder = run(replace(made, codec=codec, linear_start=False), tmp_path)
    tokenizer = narrows.load(folder)
    tokens = tokenizer.encode_file(smoked / "data" / "vowel-0.wav")
    assert tokenizer.decompress(tokenizer.compress(tokens)) == tokens
    assert tokenizer.decode(tokens).shape == (1, 32_000)


def test_a_loss_without_a_weight_is_named(smoked: Path, tmp_path: Path) -> None:
    made = recipe(smoked / "data", 2)
    codec = Codec(made.codec.encoder, LFQ(16, 6), made.codec.decoder)
    with pytest.raises(InputError, match="returns the loss 'sample_entropy'; give 'sample_entropy' a weight"):
        run(replace(made, codec=codec, linear_start=False, weights={"commitment": 1.0}), tmp_path)


def test_an_interruption_is_one(smoked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(recipe(smoked / "data", 3), tmp_path)
    assert not (tmp_path / "checkpoint").exists()


def test_a_run_starts_from_given_weights_of_the_same_shape(smoked: Path, tmp_path: Path) -> None:
    made = str(smoked / "checkpoint")
    again = recipe(smoked / "data", 0, seed=1)
    other = Codec(FrameEncoder(16, 16, 2), FSQ(16, (5, 5), 4), FrameDecoder(16, 16, 1, rounds=1))
    with pytest.raises(InputError, match="another architecture"):
        run(replace(again, codec=other), tmp_path / "second", init=made)
    run(again, tmp_path / "third", init=made)
    for name, value in folder.read(made).codec.state_dict().items():
        assert torch.equal(again.codec.state_dict()[name], value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Schedule(steps=-1),
        lambda: Schedule(validate_every=0),
        lambda: Schedule(fall=1.5),
        lambda: AdamW(lr=float("nan")),
        lambda: AdamW(betas=(0.9, 1.5)),
        lambda: Adversary(width=1),
        lambda: Sound(batch=0),
        lambda: Sound(seconds=0),
        lambda: Sound(speeds=()),
        lambda: replace(speech(), name="a/b"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(InputError, match=r"wanted|expected"):
        make()


def test_the_seed_decides_on_the_weights() -> None:
    first, same, other = (speech(seed=seed).codec.state_dict()["encoder.out.weight"] for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_the_speech_recipe_is_what_it_says() -> None:
    recipe = speech()
    assert recipe.codec.stride == 320
    assert recipe.codec.bottleneck.codebook_sizes == (1200,) * 7
    assert {round(recipe.schedule.rate(step), 2) for step in (199, 100_000, 200_000)} == {1.0, 0.02}
