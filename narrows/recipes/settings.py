"""What a training run is made of. A recipe is a Python function with typed defaults that returns one of these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from narrows.checkpoints.folder import check_name
from narrows.codecs.checks import check_fraction
from narrows.codecs.codec import Codec
from narrows.errors import InputError
from narrows.recipes.data.synthetic import made_up_vowels

if TYPE_CHECKING:
    from narrows.recipes.training.base import Descent

WEIGHTS = {  # of the losses of bottlenecks, to start from
    "commitment": 0.25,
    "codebook": 1.0,
    "joint": 1.0,
    "sample_entropy": 0.1,
    "diversity": 0.1,
    "kl": 1e-3,
    "norm": 1e-3,
}


def _check_least(least: float, **values: float) -> None:
    """Raise InputError that names the first value that is not finite and at least so large."""
    for name, value in values.items():
        if not least <= value < inf:
            raise InputError(f"{name}={value} given, at least {least:g} wanted")


@dataclass(frozen=True)
class AdamW:
    """Decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101); biases and norms do not decay."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.8, 0.99)
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        _check_least(0, lr=self.lr, weight_decay=self.weight_decay)
        for beta in self.betas:
            check_fraction(betas=beta)


@dataclass(frozen=True)
class Schedule:
    """Steps of the run and the learning rate over them: a linear rise, constant, a linear fall to `floor` of it.

    signal: step from which on the losses on the decoded signal count; before it only those on the decoder's frames do.
    fall: share of the steps at the end in which the rate falls. validate_every: steps between validations, after each
    of which the run is saved. average: decay of the running mean of the weights, which is what a run delivers.
    """

    steps: int = 200_000
    signal: int = 20_000
    rise: int = 200
    fall: float = 0.3
    floor: float = 0.02
    validate_every: int = 1_000
    average: float = 0.999

    def __post_init__(self) -> None:
        _check_least(0, steps=self.steps, signal=self.signal)
        _check_least(1, rise=self.rise, validate_every=self.validate_every)
        check_fraction(fall=self.fall, floor=self.floor, average=self.average)

    def rate(self, step: int) -> float:
        """Share of the full learning rate at a step."""
        left = (self.steps - step) / max(1, self.fall * self.steps)
        return min(1.0, (step + 1) / self.rise, max(self.floor, left))


@dataclass(frozen=True)
class Adversary:
    """Discriminators: from step `start` on they learn at rate `lr`, and the codec learns from them.

    They judge decoded signals, so they wait for the schedule's `signal` if that is later.

    width: channels of their first layers. score, features: weights of the two losses for the codec.
    """

    start: int = 100_000
    lr: float = 2e-4
    width: int = 32
    score: float = 0.5
    features: float = 1.0

    def __post_init__(self) -> None:
        _check_least(0, start=self.start, lr=self.lr, score=self.score, features=self.features)
        _check_least(2, width=self.width)


@dataclass(frozen=True)
class Sound:
    """Folders of sound files, and how crops are drawn from them.

    seconds, batch: of one crop, and crops a step. speeds: playing rates drawn at random. workers: reading processes.
    """

    train: Path = Path("data/train")
    valid: Path = Path("data/valid")
    seconds: float = 1.0
    batch: int = 16
    speeds: tuple[float, ...] = (0.9, 1.0, 1.0, 1.1)
    workers: int = 0

    def __post_init__(self) -> None:
        _check_least(1e-3, seconds=self.seconds)
        _check_least(1, batch=self.batch)
        _check_least(0, workers=self.workers)
        for speed in self.speeds or (0.0,):
            _check_least(0.1, speeds=speed)


@dataclass(frozen=True)
class Recipe:
    """A whole training run: everything but the machine and the folder it writes to.

    losses: by name, weight and module of two signals (B, 1, T), decoded and given, to a scalar. frame_losses: the same
    with modules of decoder, latents and given signal. linear_start: whether the codec starts as a linear codec of the
    data; straight: share of the learning rate for the layers which that sets. weights: of the losses that the
    bottleneck returns, by the last part of their names. discriminators: modules of a signal to features, scores last.
    """

    name: str
    codec: Codec
    sample_rate: int
    data: Sound
    losses: Mapping[str, tuple[float, nn.Module]]
    frame_losses: Mapping[str, tuple[float, nn.Module]] = field(default_factory=dict)
    linear_start: bool = False
    straight: float = 0.1
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)
    discriminators: Sequence[nn.Module] = ()
    optimizer: AdamW = AdamW()
    schedule: Schedule = Schedule()
    adversary: Adversary = Adversary()
    seed: int = 0

    def __post_init__(self) -> None:
        check_name(self.name)

    def training(self) -> "Descent":
        """The run as a Lightning module."""
        from narrows.recipes.training.audio import Training

        return Training(self)

    def on_made_up_data(self, folder: Path) -> "Recipe":
        """The same run on made-up vowels that are written to `folder`."""
        made_up_vowels(folder, self.sample_rate)
        return replace(self, data=replace(self.data, train=folder, valid=folder))

    def smoke(self) -> "Recipe":
        """The same run cut down to seconds: every part of it is passed through once, nothing is learned."""
        return replace(
            self,
            data=replace(self.data, seconds=0.5, batch=2, workers=0),
            schedule=replace(self.schedule, steps=6, rise=2, validate_every=3, signal=2),
            adversary=replace(self.adversary, start=3),
        )
