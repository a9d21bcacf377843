"""Synthetic audio and images for smoke runs, written as files so that smoke runs read files too."""

from pathlib import Path

import numpy as np

from narrows.media import audio, image, video


def write_synthetic_audio(folder: Path, sample_rate: int, seconds: float = 2.0) -> None:
    """Write two recordings of a vowel to a new folder.

    Args:
        folder: Folder; nothing is written if it exists, as another process of the run has made it.
        sample_rate: Sample rate in Hz.
        seconds: Length of each.
    """
    if folder.exists():
        return
    folder.mkdir(parents=True)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    for index, pitch in enumerate((110, 180)):
        phase = pitch * (time + 0.1 * np.sin(2 * np.pi * time))
        harmonics = np.arange(1, 20)[:, None]
        vowel = (np.sin(2 * np.pi * harmonics * phase) / harmonics).sum(0, keepdims=True)
        envelope = 0.1 * (1 + np.sin(2 * np.pi * 3 * time))
        audio.write(folder / f"vowel-{index}.wav", (envelope * vowel).astype(np.float32), sample_rate)


def write_synthetic_images(folder: Path) -> None:
    """Write three images of sine waves, edges and noise, 160 × 192 pixels, to a new folder.

    Args:
        folder: Folder; nothing is written if it exists, as another process of the run has made it.
    """
    if folder.exists():
        return
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:160, :192] / 32
    for index in range(3):
        waves = [np.sin(rng.normal() * x + rng.normal() * y + c) for c in range(3)]
        edges = 0.5 * np.sign(np.sin(rng.normal(0, 2) * x + rng.normal(0, 2) * y))
        noise = rng.normal(0, 0.1, (160, 192, 3))
        pixels = 128 + 50 * (np.stack(waves, 2) + edges[..., None] + noise)
        image.write(folder / f"waves-{index}.png", pixels.clip(0, 255).astype(np.uint8).transpose(2, 0, 1))


def write_labelled_images(folder: Path, classes: int, size: int = 32) -> None:
    """Write two noisy images of stripes of each class, whose angle is its own, to subfolders of a new folder.

    Args:
        folder: Folder; nothing is written if it exists, as another process of the run has made it.
        classes: Number of classes, each a folder with its number as the name.
        size: Height and width in pixels.
    """
    if folder.exists():
        return
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    for index in range(classes):
        (folder / f"{index:04d}").mkdir(parents=True)
        angle = np.pi * index / classes
        for number in range(2):
            stripes = np.sin(x * np.cos(angle) + y * np.sin(angle) + rng.uniform(0, 6))
            pixels = 128 + 80 * stripes + rng.normal(0, 10, (3, size, size))
            image.write(folder / f"{index:04d}" / f"{number}.png", pixels.clip(0, 255).astype(np.uint8))


def write_synthetic_videos(folder: Path) -> None:
    """Write three clips of moving sine waves and edges, 20 frames of 72 × 96 pixels, to a new folder.

    Args:
        folder: Folder; nothing is written if it exists, as another process of the run has made it.
    """
    if folder.exists():
        return
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    t, y, x = np.mgrid[:20, :72, :96] / 32
    for index in range(3):
        waves = [np.sin(rng.normal() * x + rng.normal() * y + rng.normal(0, 4) * t + c) for c in range(3)]
        edges = np.sign(np.sin(rng.normal(0, 2) * x + rng.normal(0, 2) * y + rng.normal(0, 4) * t))
        frames = (128 + 50 * (np.stack(waves, 1) + 0.5 * edges[:, None])).clip(0, 255).astype(np.uint8)
        video.write(folder / f"waves-{index}.mp4", iter(frames), 25)
