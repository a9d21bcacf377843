import numpy as np
import pytest
from scipy import interpolate

from narrows.evaluation.piecewise import integral


@pytest.mark.parametrize("points", [2, 3, 4, 9])
@pytest.mark.parametrize("method", ["pchip", "akima"])
@pytest.mark.parametrize("monotone", [True, False])
def test_integrals_match_scipy(points, method, monotone):
    generator = np.random.default_rng(points)
    x = generator.uniform(0.1, 3, (20, points)).cumsum(1)
    y = generator.uniform(0, 5, (20, points)).cumsum(1) if monotone else generator.normal(size=(20, points))
    span = x[:, -1] - x[:, 0]
    low, high = x[:, 0] + 0.1 * span, x[:, 0] + 0.9 * span
    found = integral(x, y, low, high, method)
    for row in range(20):
        if points == 2:
            theirs = interpolate.make_interp_spline(x[row], y[row], k=1)
        elif method == "pchip":
            theirs = interpolate.PchipInterpolator(x[row], y[row])
        else:
            theirs = interpolate.Akima1DInterpolator(x[row], y[row])
        assert found[row] == pytest.approx(theirs.integrate(low[row], high[row]), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("method", ["pchip", "akima"])
def test_straight_lines_are_exact(method):
    x = np.array([[0.0, 1, 3, 4, 7]])
    found = integral(x, 2 * x + 1, np.array([0.5]), np.array([6.5]), method)
    assert found == pytest.approx([6.5**2 + 6.5 - 0.75])
