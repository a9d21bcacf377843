import hashlib
import math
import struct

import numpy as np
import pytest

from narrows.bitstream import FrequencyTables, quantize
from narrows.errors import InputError


def random_weights(seed):
    rng = np.random.default_rng(seed)
    return rng.random(int(rng.integers(1, 300))) ** int(rng.integers(1, 40))


@pytest.mark.parametrize("seed", range(30))
def test_sum_and_minimum(seed):
    frequencies = quantize(random_weights(seed))
    assert frequencies.dtype == np.int32
    assert frequencies.sum() == 65536
    assert frequencies.min() >= 1


@pytest.mark.parametrize("seed", range(30))
def test_rounding_and_then_the_best_step_each_time(seed):
    weights = random_weights(seed)
    p = (weights / weights.max()) / (weights / weights.max()).sum()
    f = [max(1, math.floor(share * (65536 - p.size) + 0.5)) for share in p]
    while sum(f) != 65536:
        step = 1 if sum(f) < 65536 else -1
        costs = [-p[i] * math.log2((f[i] + step) / f[i]) if f[i] + step else math.inf for i in range(p.size)]
        f[costs.index(min(costs))] += step
    assert quantize(weights).tolist() == f


@pytest.mark.parametrize("seed", range(30))
def test_costs_next_to_nothing(seed):
    weights = random_weights(seed)
    p = weights / weights.sum()
    share = quantize(weights) / 65536
    used = p > 0
    assert (p[used] * np.log2(p[used] / share[used])).sum() < 1.5 * p.size / 65536 * math.log2(math.e) + 1e-9


def test_rare_symbols_keep_a_share():
    assert quantize([1.0] + [0.0] * 4095).tolist() == [65536 - 4095] + [1] * 4095


def test_one_symbol():
    assert quantize([3]).tolist() == [65536]


def test_ties_go_to_the_lowest_index():
    assert quantize([1, 1, 1]).tolist() == [21846, 21845, 21845]
    assert quantize(np.ones(7)).tolist() == [9363, 9363] + [9362] * 5


def test_counts_and_probabilities_are_the_same():
    counts = np.array([5, 0, 17, 1000, 3])
    assert np.array_equal(quantize(counts), quantize(counts / counts.sum()))
    assert np.array_equal(quantize(counts), quantize(counts * 1e300))


@pytest.mark.parametrize("weights", [[], [0, 0], [-1, 2], [math.nan, 1], [math.inf, 1], [[1, 2]], np.ones(4097)])
def test_refused_weights(weights):
    with pytest.raises(InputError):
        quantize(weights)


def test_fit_counts_and_smooths():
    tables = FrequencyTables.fit([np.array([[0, 0, 1], [0, 0, 0]]), np.array([], int)], [3, 4])
    assert np.array_equal(tables.frequencies[0], quantize([5.5, 1.5, 0.5]))
    assert tables.frequencies[1].tolist() == [16384] * 4
    assert tables.sizes == (3, 4)
    assert FrequencyTables.fit([np.array([0])], [2], smoothing=1).frequencies[0].tolist() == quantize([2, 1]).tolist()


def test_fit_refuses():
    with pytest.raises(InputError, match="stream 1 holds 2 to 3, want 0 to 2"):
        FrequencyTables.fit([np.array([0]), np.array([3, 2])], [1, 3])
    with pytest.raises(InputError, match="1 streams and 2 alphabet sizes"):
        FrequencyTables.fit([np.array([0])], [1, 3])
    with pytest.raises(InputError, match="smoothing"):
        FrequencyTables.fit([np.array([0])], [2], smoothing=0)


def test_estimated_bits():
    tables = FrequencyTables((np.array([32768, 16384, 16384]), np.array([65536])))
    assert tables.estimated_bits([np.array([0, 0, 1, 2]), np.array([0, 0, 0, 0])]) == 6
    assert tables.estimated_bits([np.array([[1]])]) == 2  # fewer streams than tables: a prefix of the codebooks
    with pytest.raises(InputError, match="stream 0"):
        tables.estimated_bits([np.array([3])])
    with pytest.raises(InputError, match="3 streams"):
        tables.estimated_bits([np.array([0])] * 3)


def test_arrays_round_trip_and_digest():
    tables = FrequencyTables((quantize([1, 2, 3]), quantize([1]), quantize(np.ones(4096))))
    arrays = tables.to_arrays()
    assert {name: array.dtype for name, array in arrays.items()} == {"sizes": np.int32, "frequencies": np.int32}
    again = FrequencyTables.from_arrays(arrays)
    assert again == tables
    assert hash(again) == hash(tables)
    assert again != FrequencyTables((quantize([1, 2, 4]), quantize([1]), quantize(np.ones(4096))))
    assert (
        FrequencyTables((quantize([1, 1]),)).digest == hashlib.sha256(struct.pack("<4I", 1, 2, 32768, 32768)).digest()
    )
    assert len(tables.digest) == 32


def test_tables_cannot_be_changed():
    given = quantize([1, 2])
    tables = FrequencyTables((given,))
    with pytest.raises(ValueError, match="read-only"):
        tables.frequencies[0][0] = 1
    given[0] = 7
    assert tables.frequencies[0].sum() == 65536


@pytest.mark.parametrize(
    ("sizes", "frequencies", "message"),
    [
        ([2], [65535, 2], "table 0 sums to 65537, want 65536"),
        ([1, 2], [65536, 65536, 0], "table 1 holds the frequency 0"),
        ([1, 2], [65536, 65537, -1], "table 1 holds the frequency -1"),
        ([2, 2], [32768, 32768], "their sizes sum to 4"),
        ([-1, 3], [32768, 32768], "their sizes sum to 2"),
        ([], [], "their sizes sum to 0"),
        ([2], [2.0, 3.0], "'frequencies' of the stored tables is float64"),
        ([[2]], [1, 2], r"'sizes' of the stored tables is int32 of shape \(1, 1\)"),
        ([3], [2**31 - 1, 2**31 - 1, 65538], "sums to 4295032832"),
    ],
)
def test_refused_arrays(sizes, frequencies, message):
    kind = np.float64 if any(isinstance(value, float) for value in frequencies) else np.int32
    with pytest.raises(InputError, match=message):
        FrequencyTables.from_arrays({"sizes": np.array(sizes, np.int32), "frequencies": np.array(frequencies, kind)})


def test_missing_array():
    with pytest.raises(InputError, match="have no 'frequencies'"):
        FrequencyTables.from_arrays({"sizes": np.array([1], np.int32)})


def test_no_tables():
    with pytest.raises(InputError, match="no tables"):
        FrequencyTables(())


def test_prices_are_the_bits_of_symbols_by_their_distance_from_the_middle():
    tables = FrequencyTables(
        (quantize([1, 2, 8, 2, 1, 2]), quantize([3, 1]))
    )  # -2 .. 2 and the escape, 0 and the escape
    assert tables.bit_costs == pytest.approx(np.array([[1, 3, 4], [math.log2(4 / 3), 14, 14]]), abs=1e-3)
