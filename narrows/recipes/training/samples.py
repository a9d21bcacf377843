"""Samples of a run: validation items, original and decoded, in out/samples/step-N/.

    samples/step-3000/1-original.flac  1-decoded.flac  2-original.flac ...

The samples of the last validations are kept. Their files are all that the report of the run needs.
"""

import re
import shutil
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from torch import Tensor

from narrows.media.audio import Audio
from narrows.media.image import Image
from narrows.media.medium import Signal
from narrows.media.table import MEDIA
from narrows.media.video import Video
from narrows.recipes.training.run_folder import SAMPLES
from narrows.report.embedding import MediaSample

MAX_SAMPLES = 4  # items of a validation
MAX_SECONDS, MAX_SIDE = 10.0, 768  # of audio; pixels of images and frames, whose centre is kept
KEPT = 5  # validations
ORIGINAL = "original"
SUFFIXES = {"audio": ".flac", "image": ".png", "video": ".mkv"}
MEDIUM_OF = {suffix: MEDIA[name] for name, suffix in SUFFIXES.items()}
FRAME_RATE = 25  # of crops of clips


def as_signal(x: Tensor, sample_rate: int | None) -> Signal:
    """Audio (C, T), an image (C, H, W) or a clip (C, T, H, W), in [-1, 1], as a file would have it.

    Of long audio it is the beginning, of large images the centre.
    """
    x = x.detach().float().cpu().nan_to_num().clamp(-1, 1)
    if sample_rate is not None:
        return Audio(x[:, : round(MAX_SECONDS * sample_rate)].numpy(), sample_rate)
    for axis in (x.ndim - 2, x.ndim - 1):
        side = x.shape[axis]
        x = x.narrow(axis, max(0, side - MAX_SIDE) // 2, min(side, MAX_SIDE))
    pixels = ((x + 1) * 127.5).round().byte().numpy()
    return Image(pixels) if x.ndim == 3 else Video(pixels, Fraction(FRAME_RATE))


def write_samples(out: Path, samples: Sequence[MediaSample], step: int) -> None:
    """Write the samples of a validation, and remove those of validations long before it and after it."""
    folder = out / SAMPLES / f"step-{step}"
    folder.mkdir(parents=True, exist_ok=True)
    for sample in samples:
        for name, signal in ((ORIGINAL, sample.reference), *sample.decoded.items()):
            medium = MEDIA[signal.medium]
            path = folder / f"{sample.item}-{_file_name(name)}{SUFFIXES[medium.name]}"
            medium.write(path, signal, True, None)
    earlier = [number for number in _steps(out) if number <= step]
    remove_samples(out, [number for number in _steps(out) if number not in earlier[-KEPT:]])


def read_samples(out: Path) -> tuple[int | None, list[MediaSample]]:
    """The step of the last samples in the folder of a run, and these samples."""
    steps = _steps(out)
    if not steps:
        return None, []
    found: dict[str, dict[str, Path]] = {}
    for path in sorted((out / SAMPLES / f"step-{steps[-1]}").glob("[!.]*")):
        item, _, name = path.stem.partition("-")
        found.setdefault(item, {})[name] = path
    samples = []
    for item, paths in sorted(found.items(), key=lambda each: (len(each[0]), each[0])):
        signals = {name: MEDIUM_OF[path.suffix].read(path) for name, path in paths.items()}
        if ORIGINAL in signals:
            samples.append(MediaSample(item, signals.pop(ORIGINAL), signals))
    return steps[-1], samples


def drop_samples_after(step: int, out: Path) -> None:
    """Remove the samples of steps that a resumed run does again."""
    remove_samples(out, [number for number in _steps(out) if number > step])


def remove_samples(out: Path, steps: Sequence[int]) -> None:
    """Remove the samples of some steps."""
    for step in steps:
        shutil.rmtree(out / SAMPLES / f"step-{step}", ignore_errors=True)


def _steps(out: Path) -> list[int]:
    """The steps that have samples, in ascending order."""
    found = (re.fullmatch(r"step-(\d+)", path.name) for path in (out / SAMPLES).glob("step-*"))
    return sorted(int(match[1]) for match in found if match)


def _file_name(text: str) -> str:
    return re.sub(r"[^\w]+", "-", text)
