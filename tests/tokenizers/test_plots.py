"""Figures of recordings and Tokens."""

import io
import sys

import numpy as np
import pytest
import torch

from narrows.errors import InputError
from narrows.media.audio import Audio
from narrows.media.extents import AudioExtent, ImageExtent
from narrows.tokenizers import plots
from narrows.tokenizers.tokens import Tokens

pytest.importorskip("matplotlib", reason="Matplotlib is not installed")


def shown(figure) -> np.ndarray:
    """The values of the picture in a figure that can be drawn."""
    figure.savefig(file := io.BytesIO(), format="png")
    assert file.getvalue().startswith(b"\x89PNG")
    return np.asarray(figure.axes[0].images[0].get_array())


def test_a_tone_is_a_line_of_its_frequency() -> None:
    tone = np.sin(2 * np.pi * 3000 * np.arange(32_000) / 16_000).astype(np.float32)
    levels = shown(plots.spectrogram(Audio(np.stack([tone, 0 * tone]), 16_000)))
    assert len(levels) == 257  # 0 to 8 kHz
    assert abs(levels[:, 5:-5].argmax(0) - 96).max() <= 1  # 3 kHz


@pytest.mark.parametrize("samples", [1, 7, 5_000_000])
def test_recordings_of_any_length(samples: int) -> None:
    levels = shown(plots.spectrogram(Audio(np.zeros((1, samples), np.float32), 8000)))
    assert 1 <= levels.shape[1] <= plots.MAX_COLUMNS
    assert np.isfinite(levels).all()


def test_codes() -> None:
    codes = torch.arange(6).reshape(1, 2, 3)
    audio = Tokens(codes, ((6,), (12,)), AudioExtent(8000, 900, 1), "m", "00")
    assert np.allclose(shown(plots.codes(audio)), [[0, 1 / 6, 2 / 6], [3 / 12, 4 / 12, 5 / 12]])
    image = Tokens(torch.arange(12).reshape(1, 2, 2, 3), ((12,), (24,)), ImageExtent(20, 30, 3), "m", "00")
    assert np.allclose(shown(plots.codes(image)), np.arange(6).reshape(2, 3) / 12)
    assert np.allclose(shown(plots.codes(image, 1)), np.arange(6, 12).reshape(2, 3) / 24)
    for tokens, codebook in ((image, 2), (image, -1), (audio, 0)):
        with pytest.raises(InputError, match=r"expected (a codebook of 0 to 1|no codebook for audio), got"):
            plots.codes(tokens, codebook)


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"expected the package matplotlib.*pip install 'narrows\[evaluate\]'"):
        plots.spectrogram(Audio(np.zeros((1, 99), np.float32), 8000))


def test_colours_span_the_codes_that_occur() -> None:
    """Codes of an entropy model lie near the middle of a large codebook."""
    codes = 2048 + torch.arange(-20, 20).reshape(1, 1, 1, 40).repeat(1, 1, 20, 1)
    codes[0, 0, 0, 0] = 0
    figure = plots.codes(Tokens(codes, ((4096,),), ImageExtent(320, 640, 3), "m", "00"))
    low, high = figure.axes[0].images[0].get_clim()
    assert 2020 < low * 4096 < 2032 < 2062 < high * 4096 < 2068
    flat = Tokens(torch.zeros(1, 1, 3, 4, dtype=torch.int64), ((8,),), ImageExtent(30, 40, 3), "m", "00")
    shown(plots.codes(flat))


@pytest.mark.parametrize(("height", "width"), [(20, 40), (40, 40), (90, 10), (2, 90)])
def test_pictures_use_the_figure(height: int, width: int) -> None:
    codes = torch.arange(height * width).reshape(1, 1, height, width)
    figure = plots.codes(Tokens(codes, ((height * width,),), ImageExtent(height, width, 3), "m", "00"))
    shown(figure)
    box = figure.axes[0].get_position()  # fractions of the figure
    assert max(box.width, box.height) > 0.6
