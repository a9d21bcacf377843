import numpy as np
import pytest

from narrows.evaluation.base import NotMeasurable
from narrows.evaluation.metrics import rfid
from narrows.evaluation.metrics.rfid import distance, features
from narrows.media.image import Image


def test_distance_of_known_distributions():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 8))
    x = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T  # of mean 0 and unit covariance, exactly
    assert distance(x, x) == pytest.approx(0, abs=1e-9)
    assert distance(x, x + np.arange(8)) == pytest.approx(np.square(np.arange(8)).sum())
    assert distance(x, 3 * x) == pytest.approx(8 * (3 - 1) ** 2)
    scales = np.linspace(0.5, 2, 8)
    assert distance(x, x * scales + 1) == pytest.approx(8 + np.square(scales - 1).sum())


@pytest.mark.parametrize(("n", "m"), [(300, 200), (20, 12)])  # more and fewer than the dimensions
def test_distance_matches_its_definition(n, m):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, 32)), rng.standard_normal((m, 32)) @ rng.standard_normal((32, 32)) + 0.3
    a, b = np.cov(x.T), np.cov(y.T)
    overlap = np.sqrt(np.linalg.eigvals(a @ b).astype(complex)).real.sum()
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(a) + np.trace(b) - 2 * overlap
    assert distance(x, y) == pytest.approx(expected, rel=1e-6)


def test_too_few_features_are_undefined():
    one, two = np.zeros((1, 4)), np.zeros((2, 4))
    assert distance(two, two) == 0
    for pair in ((one, two), (two, one)):
        with pytest.raises(NotMeasurable, match="fewer than two"):
            distance(*pair)
    with pytest.raises(NotMeasurable, match="not finite"):
        distance(two, two * np.nan)


def test_images_are_cut_into_centred_tiles(monkeypatch):
    seen = []

    def network(batch):
        seen.append(batch[0].permute(1, 2, 0).numpy())
        return (batch.float().mean((2, 3)),)

    monkeypatch.setattr(rfid, "_network", lambda: network)
    pixels = np.random.default_rng(0).integers(0, 256, (515, 300, 3), np.uint8)
    found = features(Image(pixels.transpose(2, 0, 1)))
    assert found.shape == (2, 3)
    for tile, top, feature in zip(seen, (1, 257), found, strict=True):
        np.testing.assert_array_equal(tile, pixels[top : top + 256, 22:278])
        np.testing.assert_allclose(feature, tile.mean((0, 1)), rtol=1e-5)
    features(Image(pixels[:100, :1].transpose(2, 0, 1)))
    assert seen[2].shape == (100, 1, 3)
