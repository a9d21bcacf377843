"""Published points of the Kodak images (CompressAI's repository, results/image/kodak)."""

import json
from pathlib import Path

import numpy as np
import pytest

from narrows.errors import InputError
from narrows.evaluation.curves import Curve, bd_quality, bd_rate, pareto

KODAK = json.loads((Path(__file__).parent / "kodak_curves.json").read_text())
BD_RATES = {  # percent against VTM and against BPG 4:4:4, each by pchip and akima
    "factorized": (68.10, 68.01, 32.55, 32.47),
    "hyperprior": (30.49, 30.47, 3.93, 3.91),
    "mbt2018-mean": (21.28, 21.28, -3.28, -3.28),
    "mbt2018": (11.02, 11.01, -11.24, -11.24),
    "cheng2020-anchor": (3.69, 3.60, -18.88, -18.94),
    "elic": (-7.02, -7.06, -26.58, -26.60),
    "hm": (23.31, 23.30, 0.83, 0.83),
    "av1": (16.18, 16.18, -6.22, -6.22),
    "webp": (78.75, 78.75, 44.18, 44.18),
    "jpeg": (208.5, 208.5, 143.0, 143.0),
}


def kodak(name):
    return Curve(KODAK[name]["bpp"], KODAK[name]["psnr"])


VTM = kodak("vtm")
METHODS = ("pchip", "akima")


@pytest.mark.parametrize("codec", BD_RATES)
def test_published_curves(codec):
    found = [bd_rate(kodak(anchor), kodak(codec), how).change for anchor in ("vtm", "bpg444") for how in METHODS]
    assert found == pytest.approx(BD_RATES[codec], abs=0.1 if codec == "jpeg" else 0.02)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("codec", ["hyperprior", "webp"])
def test_matches_the_package_bjontegaard(codec, method):
    import bjontegaard as package

    arguments = (
        *(sorted(KODAK[name][of]) for name in ("vtm", codec) for of in ("bpp", "psnr")),
        method,
        False,
        False,
        0,
    )
    assert bd_rate(VTM, kodak(codec), method).change == pytest.approx(package.bd_rate(*arguments), abs=1e-9)
    assert bd_quality(VTM, kodak(codec), method).change == pytest.approx(package.bd_psnr(*arguments), abs=1e-9)


def test_known_deltas():
    rates, qualities = VTM.rates[0], VTM.qualities[0]
    double = Curve(2 * rates[::-1], qualities[::-1])
    assert bd_rate(VTM, double).change == pytest.approx(100)
    assert bd_rate(double, VTM).change == pytest.approx(-50)
    assert bd_quality(VTM, Curve(rates, qualities + 1.5)).change == pytest.approx(1.5)
    delta = bd_rate(VTM, kodak("hyperprior"))
    assert (delta.low, delta.high) == (27.5815, 40.5569)
    assert delta.overlap == pytest.approx((40.5569 - 27.5815) / (46.5918 - 26.1448), abs=1e-4)
    assert delta.unreliable
    assert delta.interval is None
    rates = bd_quality(VTM, kodak("hyperprior"))
    assert (rates.low, rates.high) == pytest.approx((0.13129, 1.66022))


def test_no_common_quality():
    assert bd_rate(VTM, Curve([1, 2, 3, 4], [50, 51, 52, 53])) is None
    assert bd_quality(VTM, Curve([10, 20, 30, 40], [50, 51, 52, 53])) is None


def test_dominated_points_are_dropped():
    rates, qualities = VTM.rates[0], VTM.qualities[0]
    worse = Curve([*rates, 3 * rates[2], rates[4]], [*qualities, qualities[1], qualities[4] - 1])
    assert worse.undominated.tolist() == [True] * 8 + [False] * 2
    assert bd_rate(VTM, worse).change == pytest.approx(0, abs=1e-12)


def test_equal_points_count_once():
    curve = Curve([1, 2, 2, 3, 2], [1, 2, 2, 3, 2])
    assert curve.undominated.tolist() == [True, True, False, True, False]
    with pytest.raises(InputError, match="undominated points, got 3"):
        bd_rate(curve, Curve([1, 2, 3, 4], [1, 2, 3, 4]))


def test_saturation_is_flagged():
    rates = 2.0 ** np.arange(6)
    rising, ending = Curve(rates, [1, 2, 3, 4, 5, 6]), Curve(rates, [1, 2.5, 4, 5, 5.01, 5.02])
    assert bd_rate(rising, ending).saturated
    assert not bd_rate(rising, Curve(rates, [1.5, 2.5, 3.5, 4.5, 5.5, 6.5])).saturated


def of_items(factor, count=20):
    """Points of many items, some of which need more bits than others with every codec."""
    generator = np.random.default_rng(0)
    hard = generator.lognormal(0, 0.5, (count, 1))
    noise = np.random.default_rng(int(100 * factor)).normal(1, 0.02, (count, 5))
    return Curve(factor * hard * 2.0 ** np.arange(5) * noise, np.tile(np.arange(30, 40, 2.0), (count, 1)))


def test_interval_over_items_is_paired():
    delta = bd_rate(of_items(1), of_items(0.9))
    assert delta.interval.count == 20
    assert delta.interval.low < delta.change < delta.interval.high
    assert delta.interval.high - delta.interval.low < 3  # percent, though the items differ by factors
    assert delta.change == pytest.approx(-10, abs=1)


def test_interval_matches_curves_of_single_resamples():
    anchor, test = of_items(1), of_items(0.8)
    chosen = np.random.default_rng(0).integers(20, size=(1000, 20))
    changes = [
        bd_rate(*(Curve(of.rates[row].mean(0), of.qualities[row].mean(0)) for of in (anchor, test))).change
        for row in chosen
    ]
    interval = bd_rate(anchor, test).interval
    assert (interval.low, interval.high) == pytest.approx(np.quantile(changes, (0.025, 0.975)))


def test_a_published_anchor_without_items():
    delta = bd_rate(Curve(of_items(1).rates.mean(0), np.arange(30, 40, 2.0)), of_items(0.9))
    assert delta.interval.high - delta.interval.low > 10


@pytest.mark.parametrize(
    ("rates", "qualities", "message"),
    [
        ([1, 2, 3], [1, 2], "shapes"),
        ([], [], "shapes"),
        ([0, 1, 2, 3], [1, 2, 3, 4], "above 0"),
        ([1, 2, 3, 4], [1, 2, 3, float("inf")], "finite"),
    ],
)
def test_invalid_curves_are_rejected(rates, qualities, message):
    with pytest.raises(InputError, match=message):
        Curve(rates, qualities)


def test_incompatible_curves_are_rejected():
    with pytest.raises(InputError, match="undominated points, got 3"):
        bd_rate(VTM, Curve([1, 2, 3, 4], [30, 31, 32, 31]))
    with pytest.raises(InputError, match="20 and 19 items"):
        bd_rate(of_items(1), of_items(1, count=19))
    with pytest.raises(InputError, match="pchip, akima"):
        bd_rate(VTM, VTM, "cubic")


def test_pareto():
    rate, quality, speed = [1, 2, 2, 3, 3], [10, 20, 20, 15, 20], [5, 5, 1, 5, 9]
    assert pareto(rate, quality, speed).tolist() == [True, True, False, False, True]
    assert pareto([1, 1], [2, 2], [0, 0]).tolist() == [True, True]
    with pytest.raises(InputError, match="finite"):
        pareto([1], [float("nan")], [1])
