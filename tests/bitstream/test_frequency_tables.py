import hashlib
import math
import struct

import numpy as np
import pytest

from narrows.bitstream import FrequencyTables, integer_frequencies
from narrows.errors import InputError


def random_weights(seed):
    rng = np.random.default_rng(seed)
    return rng.random(int(rng.integers(1, 300))) ** int(rng.integers(1, 40))


@pytest.mark.parametrize("seed", range(30))
def test_sum_and_minimum(seed):
    frequencies = integer_frequencies(random_weights(seed))
    assert frequencies.dtype == np.int32
    assert frequencies.sum() == 65536
    assert frequencies.min() >= 1


@pytest.mark.parametrize("seed", range(30))
def test_rounding_and_then_the_best_step(seed):
    weights = random_weights(seed)
    p = (weights / weights.max()) / (weights / weights.max()).sum()
    f = [max(1, math.floor(value * (65536 - p.size) + 0.5)) for value in p]
    while sum(f) != 65536:
        step = 1 if sum(f) < 65536 else -1
        costs = [-p[i] * math.log2((f[i] + step) / f[i]) if f[i] + step else math.inf for i in range(p.size)]
        f[costs.index(min(costs))] += step
    assert integer_frequencies(weights).tolist() == f


@pytest.mark.parametrize("seed", range(30))
def test_the_loss_of_coding_efficiency_is_small(seed):
    weights = random_weights(seed)
    p = weights / weights.sum()
    q = integer_frequencies(weights) / 65536
    used = p > 0
    assert (p[used] * np.log2(p[used] / q[used])).sum() < 1.5 * p.size / 65536 * math.log2(math.e) + 1e-9


def test_each_symbol_has_a_frequency_of_at_least_one():
    assert integer_frequencies([1.0] + [0.0] * 4095).tolist() == [65536 - 4095] + [1] * 4095


def test_one_symbol():
    assert integer_frequencies([3]).tolist() == [65536]


def test_ties_go_to_the_lowest_index():
    assert integer_frequencies([1, 1, 1]).tolist() == [21846, 21845, 21845]
    assert integer_frequencies(np.ones(7)).tolist() == [9363, 9363] + [9362] * 5


def test_counts_and_probabilities_are_the_same():
    counts = np.array([5, 0, 17, 1000, 3])
    assert np.array_equal(integer_frequencies(counts), integer_frequencies(counts / counts.sum()))
    assert np.array_equal(integer_frequencies(counts), integer_frequencies(counts * 1e300))


@pytest.mark.parametrize("weights", [[], [0, 0], [-1, 2], [math.nan, 1], [math.inf, 1], [[1, 2]], np.ones(4097)])
def test_other_weights(weights):
    with pytest.raises(InputError):
        integer_frequencies(weights)


def test_fit_counts_and_smooths():
    tables = FrequencyTables.fit([np.array([[0, 0, 1], [0, 0, 0]]), np.array([], int)], [3, 4])
    assert np.array_equal(tables.frequencies[0], integer_frequencies([5.5, 1.5, 0.5]))
    assert tables.frequencies[1].tolist() == [16384] * 4
    assert tables.sizes == (3, 4)
    assert (
        FrequencyTables.fit([np.array([0])], [2], smoothing=1).frequencies[0].tolist()
        == integer_frequencies([2, 1]).tolist()
    )


def test_errors_of_fit():
    with pytest.raises(InputError, match="expected symbols from 0 to 2 in stream 1, got 2 to 3"):
        FrequencyTables.fit([np.array([0]), np.array([3, 2])], [1, 3])
    with pytest.raises(InputError, match="got 1 streams and 2 sizes"):
        FrequencyTables.fit([np.array([0])], [1, 3])
    with pytest.raises(InputError, match="smoothing"):
        FrequencyTables.fit([np.array([0])], [2], smoothing=0)


def test_estimated_bits():
    tables = FrequencyTables((np.array([32768, 16384, 16384]), np.array([65536])))
    assert tables.estimated_bits([np.array([0, 0, 1, 2]), np.array([0, 0, 0, 0])]) == 6
    assert tables.estimated_bits([np.array([[1]])]) == 2  # fewer streams than tables: a prefix of the codebooks
    with pytest.raises(InputError, match="in stream 0, got 3 to 3"):
        tables.estimated_bits([np.array([3])])
    with pytest.raises(InputError, match="at most 2 symbol streams, got 3"):
        tables.estimated_bits([np.array([0])] * 3)


def test_arrays_round_trip_and_digest():
    tables = FrequencyTables(
        (integer_frequencies([1, 2, 3]), integer_frequencies([1]), integer_frequencies(np.ones(4096)))
    )
    arrays = tables.to_arrays()
    assert {name: array.dtype for name, array in arrays.items()} == {"sizes": np.int32, "frequencies": np.int32}
    again = FrequencyTables.from_arrays(arrays)
    assert again == tables
    assert hash(again) == hash(tables)
    assert again != FrequencyTables(
        (integer_frequencies([1, 2, 4]), integer_frequencies([1]), integer_frequencies(np.ones(4096)))
    )
    assert (
        FrequencyTables((integer_frequencies([1, 1]),)).digest
        == hashlib.sha256(struct.pack("<4I", 1, 2, 32768, 32768)).digest()
    )
    assert len(tables.digest) == 32


def test_tables_cannot_be_changed():
    given = integer_frequencies([1, 2])
    tables = FrequencyTables((given,))
    with pytest.raises(ValueError, match="read-only"):
        tables.frequencies[0][0] = 1
    given[0] = 7
    assert tables.frequencies[0].sum() == 65536


@pytest.mark.parametrize(
    ("sizes", "frequencies", "message"),
    [
        ([2], [65535, 2], "expected table 0 with the sum 65536, got 65537"),
        ([1, 2], [65536, 65536, 0], "at least 1 in table 1, got 0"),
        ([1, 2], [65536, 65537, -1], "at least 1 in table 1, got -1"),
        ([2, 2], [32768, 32768], "got the sum 4"),
        ([-1, 3], [32768, 32768], "got the sum 2"),
        ([], [], "got the sum 0"),
        ([2], [2.0, 3.0], "expected 'frequencies' of the stored tables as int32 with one axis, got float64"),
        ([[2]], [1, 2], r"expected 'sizes' of the stored tables as int32 with one axis, got int32 of shape \(1, 1\)"),
        ([3], [2**31 - 1, 2**31 - 1, 65538], "got 4295032832"),
    ],
)
def test_other_arrays(sizes, frequencies, message):
    kind = np.float64 if any(isinstance(value, float) for value in frequencies) else np.int32
    with pytest.raises(InputError, match=message):
        FrequencyTables.from_arrays({"sizes": np.array(sizes, np.int32), "frequencies": np.array(frequencies, kind)})


def test_missing_array():
    with pytest.raises(InputError, match="expected 'frequencies' in the stored tables"):
        FrequencyTables.from_arrays({"sizes": np.array([1], np.int32)})


def test_no_tables():
    with pytest.raises(InputError, match="expected one table or more, got none"):
        FrequencyTables(())


def test_bit_costs_by_the_distance_from_the_centre():
    tables = FrequencyTables(
        (integer_frequencies([1, 2, 8, 2, 1, 2]), integer_frequencies([3, 1]))
    )  # -2 .. 2 and the escape, 0 and the escape
    assert tables.bit_costs == pytest.approx(np.array([[1, 3, 4], [math.log2(4 / 3), 14, 14]]), abs=1e-3)
