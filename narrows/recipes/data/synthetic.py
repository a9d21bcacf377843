"""Data for smoke runs, made up in an instant and written as files, so that reading them is passed through too."""

from pathlib import Path

import numpy as np

from narrows.media import audio, image


def made_up_vowels(folder: Path, sample_rate: int) -> None:
    """Two recordings of two seconds."""
    folder.mkdir(parents=True)
    time = np.arange(2 * sample_rate) / sample_rate
    for index, pitch in enumerate((110, 180)):
        glide = pitch * (time + 0.1 * np.sin(2 * np.pi * time))
        harmonics = np.arange(1, 20)[:, None]
        vowel = (np.sin(2 * np.pi * harmonics * glide) / harmonics).sum(0, keepdims=True)
        loudness = 0.1 * (1 + np.sin(2 * np.pi * 3 * time))
        audio.write(folder / f"vowel-{index}.wav", (loudness * vowel).astype(np.float32), sample_rate)


def made_up_pictures(folder: Path) -> None:
    """Three pictures of soft waves, edges and grain, 160 × 192."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    y, x = np.mgrid[:160, :192] / 32
    for index in range(3):
        waves = [np.sin(draw.normal() * x + draw.normal() * y + c) for c in range(3)]
        edges = 0.5 * np.sign(np.sin(draw.normal(0, 2) * x + draw.normal(0, 2) * y))
        grain = draw.normal(0, 0.1, (160, 192, 3))
        pixels = 128 + 50 * (np.stack(waves, 2) + edges[..., None] + grain)
        image.write(folder / f"waves-{index}.png", pixels.clip(0, 255).astype(np.uint8))
