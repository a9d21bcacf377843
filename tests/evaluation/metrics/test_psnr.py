import numpy as np
import pytest

from narrows.evaluation.base import NotMeasurable
from narrows.evaluation.metrics import metric
from narrows.media.image import Image

MEASURE = metric("psnr").measure


def test_matches_its_definition(photo, noisy):
    x = photo()
    y = noisy(x)
    error = ((x.pixels.astype(float) - y.pixels) ** 2).mean()
    assert MEASURE(x, y) == pytest.approx(10 * np.log10(255**2 / error), abs=1e-9)
    black, white = (Image(np.full((3, 1, 1), value, np.uint8)) for value in (0, 255))
    assert MEASURE(black, white) == MEASURE(white, black) == 0


def test_identical_images_are_undefined(photo):
    with pytest.raises(NotMeasurable, match="identical"):
        MEASURE(photo(), photo())
