"""Settings that recipes share. Each is a frozen dataclass whose fields are options of `codec train RECIPE`."""

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

from narrows.errors import InputError

Structure = Literal["ordered", "aligned", "equivariant", "discrete"]  # of the latents of a Re-Bottleneck


def check_range(low: float, high: float = inf, **values: float) -> None:
    """Check that numbers are finite and from `low` to `high`.

    Raises:
        InputError: Names the first value out of range.
    """
    for name, value in values.items():
        if not low <= value <= high or value == inf:
            limits = f"of at least {low:g}" if high == inf else f"from {low:g} to {high:g}"
            raise InputError(f"expected {name} {limits}, got {value!r}")


@dataclass(frozen=True)
class AdamW:
    """AdamW optimizer (Loshchilov and Hutter, arXiv 1711.05101). Biases and norms have no weight decay.

    Args:
        lr: Peak learning rate.
        betas: Decay rates of the first and second moment, each 0 to 1.
        weight_decay: Decoupled weight decay, at least 0.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.8, 0.99)
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        check_range(0, lr=self.lr, weight_decay=self.weight_decay)
        for beta in self.betas:
            check_range(0, 1, betas=beta)


@dataclass(frozen=True)
class Schedule:
    """Length of the run, learning-rate schedule, validation and weight averaging.

    The learning rate rises linearly, is constant, and falls linearly at the end.

    Args:
        steps: Training steps of the whole run.
        warmup_steps: Steps over which the learning rate rises from near 0 to its peak.
        decay_fraction: Fraction of the steps, at the end of the run, over which the learning rate falls, 0 to 1.
        final_lr_fraction: Learning rate at the end as a fraction of the peak, 0 to 1.
        validate_every: Steps between validations; the run is saved after each validation.
        ema_decay: Decay per step of the exponential moving average (EMA) of the weights, 0 to 1; the EMA weights are
            validated and exported.
    """

    steps: int = 200_000
    warmup_steps: int = 200
    decay_fraction: float = 0.3
    final_lr_fraction: float = 0.02
    validate_every: int = 1_000
    ema_decay: float = 0.999

    def __post_init__(self) -> None:
        check_range(0, steps=self.steps)
        check_range(1, warmup_steps=self.warmup_steps, validate_every=self.validate_every)
        check_range(0, 1, decay_fraction=self.decay_fraction, final_lr_fraction=self.final_lr_fraction)
        check_range(0, 1, ema_decay=self.ema_decay)

    def lr_fraction(self, step: int) -> float:
        """Learning rate at a step as a fraction of the peak."""
        remaining = (self.steps - step) / max(1, self.decay_fraction * self.steps)
        return min(1.0, (step + 1) / self.warmup_steps, max(self.final_lr_fraction, remaining))


@dataclass(frozen=True)
class Prediction:
    """The networks that predict the frequencies of codes for entropy coding, which are trained after the codec.

    Args:
        steps: Training steps; 0: no networks, each digit of a code has fixed frequencies.
        width: Channels of the hidden layers, 1 to 1024.
        dim: Channels of an embedded code, 1 to 64.
    """

    steps: int = 3_000
    width: int = 128
    dim: int = 8

    def __post_init__(self) -> None:
        check_range(0, steps=self.steps)
        check_range(1, 1024, width=self.width)
        check_range(1, 64, dim=self.dim)


@dataclass(frozen=True)
class Adversarial:
    """Discriminators and the losses that the codec gets from them.

    Args:
        start: First step at which the discriminators are trained and the codec is trained against them.
        lr: Peak learning rate of the discriminators.
        width: Channels of a discriminator's first layer, at least 2.
        weight: Weight of the generator loss.
        feature_weight: Weight of the feature matching loss.
    """

    start: int = 100_000
    lr: float = 2e-4
    width: int = 32
    weight: float = 0.5
    feature_weight: float = 1.0

    def __post_init__(self) -> None:
        check_range(0, start=self.start, lr=self.lr, weight=self.weight, feature_weight=self.feature_weight)
        check_range(2, width=self.width)


@dataclass(frozen=True)
class AudioData:
    """Sources of recordings and how training crops are drawn from them.

    Args:
        train: Folder of training files, or another source that `codec tokenize` reads, or several: '[DIR, DIR]'. Any
            sample rates and numbers of channels.
        valid: Source of validation files, or several, of which at most 1000 are used, and 10 minutes of each.
        seconds: Length of a crop in seconds.
        batch_size: Crops per step.
        speeds: Playback speeds that a crop's speed is drawn from, each at least 0.1.
        workers: Processes that load data; 0 loads in the main process.
    """

    train: Path | tuple[Path, ...] = Path("data/train")
    valid: Path | tuple[Path, ...] = Path("data/valid")
    seconds: float = 1.0
    batch_size: int = 16
    speeds: tuple[float, ...] = (0.9, 1.0, 1.0, 1.1)
    workers: int = 0

    def __post_init__(self) -> None:
        check_range(1e-3, seconds=self.seconds)
        check_range(1, batch_size=self.batch_size)
        check_range(0, workers=self.workers)
        if not self.speeds:
            raise InputError("expected at least one speed in speeds, got none; 1.0 leaves the speed unchanged")
        for speed in self.speeds:
            check_range(0.1, speeds=speed)


@dataclass(frozen=True)
class ImageData:
    """Sources of images and how training crops are drawn from them.

    Args:
        train: Folder of training images, or another source that `codec tokenize` reads, or several: '[DIR, DIR]'. Any
            sizes.
        valid: Source of validation images, or several, of which at most 1000 are used.
        crop_size: Height and width of a crop in pixels, at least 32.
        batch_size: Crops per step.
        workers: Processes that load data; 0 loads in the main process.
    """

    train: Path | tuple[Path, ...] = Path("data/train")
    valid: Path | tuple[Path, ...] = Path("data/valid")
    crop_size: int = 256
    batch_size: int = 8
    workers: int = 0

    def __post_init__(self) -> None:
        check_range(32, crop_size=self.crop_size)  # the receptive field of the smallest discriminators
        check_range(1, batch_size=self.batch_size)
        check_range(0, workers=self.workers)


@dataclass(frozen=True)
class VideoData:
    """Sources of clips and how training crops are drawn from them.

    Args:
        train: Folder of training clips, or another source that `codec tokenize` reads, or several: '[DIR, DIR]'. Any
            sizes and frame rates.
        valid: Source of validation clips, or several, of which at most 1000 are used, and the beginning of each.
        frames: Frames of a crop.
        crop_size: Height and width of a crop in pixels, at least 32.
        batch_size: Crops per step.
        workers: Processes that load data; 0 loads in the main process.
    """

    train: Path | tuple[Path, ...] = Path("data/train")
    valid: Path | tuple[Path, ...] = Path("data/valid")
    frames: int = 20
    crop_size: int = 128
    batch_size: int = 4
    workers: int = 0

    def __post_init__(self) -> None:
        check_range(32, crop_size=self.crop_size)
        check_range(1, frames=self.frames, batch_size=self.batch_size)
        check_range(0, workers=self.workers)


@dataclass(frozen=True)
class LabelledData:
    """Sources of images with labels.

    Args:
        train: Folder of training images, or another source that `codec tokenize` reads, or several: '[DIR, DIR]'.
        valid: Source of validation images, or several, of which at most 1000 are used. Their labels are among those of
            the training images.
        label: Column of a manifest, table or WebDataset with the labels. Without it they are the names of the folders
            that the files lie in.
        size: Height and width of the images in pixels; others are resized, and cropped to the centre.
        batch_size: Images per step.
        workers: Processes that load data; 0 loads in the main process.
    """

    train: Path | tuple[Path, ...] = Path("data/train")
    valid: Path | tuple[Path, ...] = Path("data/valid")
    label: str = "label"
    size: int = 224
    batch_size: int = 64
    workers: int = 0

    def __post_init__(self) -> None:
        check_range(1, 1 << 14, size=self.size)
        check_range(1, batch_size=self.batch_size)
        check_range(0, workers=self.workers)


@dataclass(frozen=True)
class LatentData:
    """Media whose latents train a Re-Bottleneck, and how crops are drawn from them before they are encoded.

    Args:
        train: Folder of media, or another source that `codec tokenize` reads, or several: '[DIR, DIR]'.
        valid: Source of validation media, or several; None for other crops of the training media.
        crops: Crops that are encoded for training.
        valid_crops: Crops that are encoded for validation.
        seconds: Audio: length of a crop in seconds.
        crop_size: Images and video: height and width of a crop in pixels.
        frames: Video: frames of a crop.
        batch_size: Crops per step.
    """

    train: Path | tuple[Path, ...] = Path("data/train")
    valid: Path | tuple[Path, ...] | None = None
    crops: int = 2048
    valid_crops: int = 128
    seconds: float = 2.0
    crop_size: int = 256
    frames: int = 20
    batch_size: int = 16

    def __post_init__(self) -> None:
        check_range(1e-3, seconds=self.seconds)
        check_range(1, crops=self.crops, valid_crops=self.valid_crops, frames=self.frames, batch_size=self.batch_size)
        check_range(8, crop_size=self.crop_size)

    def facts(self, medium: str) -> dict[str, float]:
        """What the crops of a medium depend on."""
        sizes = {"audio": ("seconds",), "image": ("crop_size",), "video": ("crop_size", "frames")}
        return {name: getattr(self, name) for name in sizes[medium]}
