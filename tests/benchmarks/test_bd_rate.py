"""Against the figures of the package bjontegaard 1.3.0, for published points of the Kodak pictures (CompressAI)."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("scipy")

VTM = (
    (0.0482449, 26.144845),
    (0.1124954, 28.493022),
    (0.2458165, 31.199874),
    (0.4905455, 34.261533),
    (0.8748101, 37.419793),
    (1.4308497, 40.424444),
    (2.3246070, 43.505767),
    (3.6326090, 46.591760),
)
HYPERPRIOR = (
    (0.1312934, 27.581537),
    (0.2088928, 29.196703),
    (0.3198581, 30.972162),
    (0.4783563, 32.838183),
    (0.6686876, 34.526264),
    (0.9388258, 36.743348),
    (1.2591722, 38.583848),
    (1.6602241, 40.556866),
)
AV1 = (
    (0.0556920, 25.560749),
    (0.1099811, 27.562377),
    (0.1699549, 29.024679),
    (0.2456021, 30.441698),
    (0.3523577, 31.987444),
    (0.4987403, 33.649772),
    (0.6827884, 35.321802),
    (0.9090254, 36.988794),
    (1.1672745, 38.555433),
    (1.4147915, 39.809438),
    (1.8053700, 41.434357),
    (2.6075151, 43.967649),
)


@pytest.fixture(scope="module")
def bd_rate():
    path = Path(__file__).parents[2] / "benchmarks" / "bd_rate.py"
    spec = importlib.util.spec_from_file_location("bd_rate", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.bd_rate


@pytest.mark.parametrize(("test", "percent"), [(HYPERPRIOR, 30.49), (AV1, 16.18)])
def test_published_curves(bd_rate, test, percent):
    assert bd_rate(VTM, test)[0] == pytest.approx(percent, abs=0.005)


def test_what_it_means(bd_rate):
    double = [(2 * rate, quality) for rate, quality in reversed(VTM)]
    assert bd_rate(VTM, double)[0] == pytest.approx(100)
    assert bd_rate(double, VTM)[0] == pytest.approx(-50)
    assert bd_rate(VTM, HYPERPRIOR)[1:] == (27.581537, 40.556866)


@pytest.mark.parametrize("test", [VTM[:3], [(1, 30)] * 4, [(1, 50), (2, 51), (3, 52), (4, 53)]])
def test_curves_that_cannot_be_compared_are_refused(bd_rate, test):
    with pytest.raises(ValueError, match=r"wanted|common"):
        bd_rate(VTM, test)
