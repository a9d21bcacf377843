import math

import numpy as np
import pytest
import torch

from narrows.evaluation.base import NotMeasurable
from narrows.evaluation.metrics import metric
from narrows.media.image import Image

SSIM, MS_SSIM, MS_SSIM_DB = (metric(name).measure for name in ("ssim", "ms-ssim", "ms-ssim-db"))


@pytest.mark.parametrize(("size", "noise"), [((176, 200), 0.01), ((181, 333), 0.2)])
def test_matches_torchmetrics(size, noise, photo, noisy):
    from torchmetrics.functional import image

    x = photo(*size)
    y = noisy(x, noise)
    a, b = (torch.from_numpy(p.pixels)[None].double() for p in (x, y))
    ssim = float(image.structural_similarity_index_measure(b, a, data_range=255.0))
    ms_ssim = float(image.multiscale_structural_similarity_index_measure(b, a, data_range=255.0))
    assert SSIM(x, y) == pytest.approx(ssim, abs=1e-6)
    assert MS_SSIM(x, y) == pytest.approx(ms_ssim, abs=1e-6)
    assert MS_SSIM_DB(x, y) == pytest.approx(-10 * math.log10(1 - ms_ssim), abs=1e-5)


def test_identical_images(photo):
    x = photo()
    assert SSIM(x, x) == pytest.approx(1)
    assert MS_SSIM(x, x) == pytest.approx(1)
    with pytest.raises(NotMeasurable, match="identical"):
        MS_SSIM_DB(x, x)


def test_small_images_are_undefined(photo):
    for measure, least in ((SSIM, 11), (MS_SSIM, 176)):
        assert measure(photo(least, least), photo(least, least)) == pytest.approx(1)
        for size in ((least - 1, 200), (200, least - 1)):
            with pytest.raises(NotMeasurable, match=f"a side is shorter than {least} pixels"):
                measure(photo(*size), photo(*size))


def test_negative_image_scores_at_most_zero(photo):
    x = photo()
    negative = Image(255 - x.pixels)
    assert SSIM(x, negative) < 0
    assert MS_SSIM(x, negative) == 0
    assert MS_SSIM_DB(x, negative) == 0
    flat = Image(np.full_like(x.pixels, 128))
    assert SSIM(flat, flat) == pytest.approx(1)
