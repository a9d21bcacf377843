"""Figures of recordings and Tokens, with Matplotlib: pip install 'narrows[evaluate]'.

>>> from narrows.tokenizers import plots
>>> figure = plots.codes(tokens)  # a matplotlib Figure, which a notebook shows
>>> figure.savefig("codes.png")
"""

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError, shortened
from narrows.extras import needs_extra
from narrows.media.audio import Audio
from narrows.tokenizers.tokens import Tokens

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WINDOW = 0.032  # seconds
MAX_COLUMNS = 2000  # of a spectrogram; of a long recording, columns are left out
SHOWN_PERCENT = (1, 99)  # of the codes, from the lowest to the highest colour
WIDTH, MAX_HEIGHT = 8.0, 10.0  # inches
RANGE = 80.0  # dB below the loudest that are shown


def spectrogram(audio: Audio) -> "Figure":
    """The spectrogram of a recording, of the mean of its channels: power in dB over seconds and kHz."""
    power = _power(audio.samples.mean(0, dtype=np.float32), max(16, round(WINDOW * audio.sample_rate)))
    figure = _figure()
    axes = figure.add_subplot()
    levels = 10 * np.log10(np.maximum(power, 1e-12))
    top = float(levels.max())
    extent = (0, audio.extent.seconds, 0, audio.sample_rate / 2000)
    image = axes.imshow(levels.T, origin="lower", aspect="auto", extent=extent, vmin=top - RANGE, vmax=top)
    axes.set(xlabel="seconds", ylabel="kHz")
    figure.colorbar(image, label="dB")
    return figure


def codes(tokens: Tokens, codebook: int | None = None) -> "Figure":
    """The codes of a channel group as a picture, each relative to the size of its codebook.

    The colours span the codes that occur, without the lowest and highest percent.

    Args:
        tokens: the Tokens; the first channel group is shown.
        codebook: images: the codebook whose codes are shown over the grid; None for the first. Audio: None, since all
            codebooks are shown, one a row, over frames.

    Raises:
        InputError: for a codebook that the Tokens do not have.
    """
    sizes, values = tokens.codebook_sizes, tokens.codes[0].cpu().numpy()
    over_frames = tokens.extent.axes == 1
    if codebook is not None and (over_frames or codebook not in range(len(sizes))):
        expected = "no codebook for audio" if over_frames else f"a codebook of 0 to {len(sizes) - 1}"
        raise InputError(f"expected {expected}, got {shortened(codebook)}")
    index = codebook or 0
    shown, size = (values, np.array(sizes)[:, None]) if over_frames else (values[index], sizes[index])
    fractions, rows_per_column = shown / size, 0.0 if over_frames else shown.shape[0] / shown.shape[1]
    figure = _figure(rows_per_column)
    axes = figure.add_subplot()
    low, high = np.percentile(fractions, SHOWN_PERCENT)
    if low == high:  # most codes are equal
        low, high = fractions.min(), fractions.max()
    aspect: Literal["auto", "equal"] = "auto" if over_frames else "equal"
    image = axes.imshow(fractions, aspect=aspect, interpolation="nearest", vmin=low, vmax=high)
    labels = ("frames", "codebook") if over_frames else ("grid width", "grid height")
    axes.set(xlabel=labels[0], ylabel=labels[1], title="" if over_frames else f"codebook {index}")
    figure.colorbar(image, label="code / codebook size")
    return figure


def _figure(rows_per_column: float = 0.0) -> "Figure":
    """A figure as wide as its axes; for square pixels, their rows per column."""
    with needs_extra("evaluate"):
        from matplotlib.figure import Figure  # not pyplot, which keeps figures and chooses a window system

    height = min(MAX_HEIGHT, max(3.0, WIDTH * rows_per_column))
    width = min(WIDTH, max(4.0, height / rows_per_column)) if rows_per_column else WIDTH
    return Figure(figsize=(width, height), layout="constrained")


def _power(samples: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Power (columns, frequencies) of a signal (T,), in windows that overlap by half or are apart."""
    padded = np.pad(samples, (0, max(0, window - len(samples))))
    last = len(padded) - window
    starts = np.linspace(0, last, min(MAX_COLUMNS, 1 + 2 * last // window), dtype=np.int64)
    frames = padded[starts[:, None] + np.arange(window)] * np.hanning(window).astype(np.float32)
    return np.square(np.abs(np.fft.rfft(frames))).astype(np.float32)
