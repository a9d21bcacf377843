from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def vowels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two recordings of two seconds."""
    from narrows.recipes.data.synthetic import write_synthetic_audio

    folder = tmp_path_factory.mktemp("vowels") / "data"
    write_synthetic_audio(folder, 16_000)
    return folder


@pytest.fixture
def tiny(vowels: Path) -> Callable[..., "AudioRecipe"]:  # type: ignore[name-defined]  # noqa: F821
    """tiny(...) -> a recipe of a small codec with random dropout and a discriminator, validated each 3 of 7 steps."""
    import torch

    from narrows.codecs import FSQ, Codec, FrameDecoder, FrameEncoder
    from narrows.recipes.discriminators.multi_period import MultiPeriodDiscriminator
    from narrows.recipes.losses.stft import MultiResolutionSTFTLoss
    from narrows.recipes.settings import Adversarial, AudioData, Schedule
    from narrows.recipes.training.audio import AudioRecipe

    def recipe(seed: int = 0, **changed: object) -> AudioRecipe:
        torch.manual_seed(seed)
        codec = Codec(FrameEncoder(16, 16, 1), FSQ(16, (5, 5), 4, dropout=0.5), FrameDecoder(16, 16, 1, iterations=1))
        made = AudioRecipe(
            name="tiny",
            codec=codec,
            sample_rate=16_000,
            data=AudioData(vowels, vowels, seconds=0.25, batch_size=2),
            losses={"spectral": (1.0, MultiResolutionSTFTLoss(16_000, [(512, 40)]))},
            discriminators=list(MultiPeriodDiscriminator((2,), 2)),
            adversarial=Adversarial(start=2),
            schedule=Schedule(steps=7, validate_every=3, warmup_steps=2, decay_fraction=0.0),
            seed=seed,
        )
        return replace(made, **changed)  # type: ignore[arg-type]

    return recipe
