from dataclasses import replace
from pathlib import Path

import pytest
import torch

import narrows
from narrows.checkpoints import folder
from narrows.codecs import FSQ, Codec, FrameDecoder, FrameEncoder
from narrows.errors import InputError
from narrows.recipes.discriminators.periods import MultiPeriodDiscriminator
from narrows.recipes.discriminators.spectra import MultiSpectrumDiscriminator
from narrows.recipes.losses.frames import FrameMagnitudes
from narrows.recipes.losses.spectral import ComplexDistance, SpectralDistance
from narrows.recipes.recipe import Recipe, Schedule
from narrows.recipes.run import run
from narrows.recipes.speech import speech

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


def test_a_smoke_run_delivers_a_checkpoint_that_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = run(small(), tmp_path, smoke=True)
    assert '"step": 6' in capsys.readouterr().out
    tokenizer = narrows.load(made)
    assert tokenizer.tables is not None
    tokens = tokenizer.encode_file(tmp_path / "smoke-data" / "vowel-0.wav")
    assert tokenizer.decode(tokenizer.decompress(tokenizer.compress(tokens))).shape == (1, 32_000)
    assert (tmp_path / "last.ckpt").exists()
    assert "score" in (tmp_path / "metrics.csv").read_text()


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """Two epochs at once, and one after the other, give the same weights."""
    run(small(), tmp_path / "data", smoke=True)
    data = tmp_path / "data" / "smoke-data"

    def recipe(steps: int) -> Recipe:
        made = small().smoke()
        schedule = replace(made.schedule, steps=6, validate_every=3, fall=0.0)
        return replace(made, data=replace(made.data, train=data, valid=data), schedule=replace(schedule, steps=steps))

    whole = folder.read(run(recipe(6), tmp_path / "whole"))
    run(recipe(3), tmp_path / "parts")
    parts = folder.read(run(recipe(6), tmp_path / "parts"))
    for name, value in whole.codec.state_dict().items():
        torch.testing.assert_close(parts.codec.state_dict()[name], value, atol=1e-3, rtol=0, msg=name)


def test_a_run_starts_from_given_weights_of_the_same_shape(tmp_path: Path) -> None:
    made = run(small(), tmp_path / "first", smoke=True)
    again = replace(small(1).smoke(), schedule=Schedule(steps=0, validate_every=1))
    codec = again.codec
    other = Codec(FrameEncoder(16, 16, 2), FSQ(16, (5, 5), 4), FrameDecoder(16, 16, 1, rounds=1))
    with pytest.raises(InputError, match="another architecture"):
        run(replace(again, codec=other), tmp_path / "second", init=str(made))
    data = tmp_path / "first" / "smoke-data"
    again = replace(again, data=replace(again.data, train=data, valid=data))
    run(again, tmp_path / "third", init=str(made))
    for name, value in folder.read(made).codec.state_dict().items():
        assert torch.equal(codec.state_dict()[name], value)


def test_the_speech_recipe_is_what_it_says() -> None:
    recipe = speech()
    assert recipe.codec.stride == 320
    assert recipe.codec.bottleneck.codebook_sizes == (1200,) * 7
    assert {round(recipe.schedule.rate(step), 2) for step in (199, 100_000, 200_000)} == {1.0, 0.02}
