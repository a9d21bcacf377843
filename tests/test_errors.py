"""What a value looks like in a message."""

import tracemalloc
from collections import UserString
from typing import Any

import numpy as np
import pytest

from narrows.errors import MAX_SHOWN, shortened


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "'a'"),
        (b"a", "b'a'"),
        (3, "3"),
        (9.0, "9"),
        (0.25, "0.25"),
        (None, "None"),
        (True, "True"),
        ("a\nb\x1b", r"'a\nb\x1b'"),
        (10**5000, "an integer of 16610 bits"),
        (Broken(), "an object of type Broken"),
        ((1, "a"), "(1, 'a')"),
        (np.arange(3), "array([0, 1, 2])"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_short_values(value: Any, expected: str) -> None:
    assert shortened(value) == expected


class Text(str):
    pass


LONG = [
    "a" * 10**7,
    Text("a" * 10**7),
    UserString("a" * 9999),
    b"\0" * 10**7,
    bytearray(10**7),
    memoryview(bytes(10**7)),
    [b"a" * 10**7] * 9,
    {"a" * 10**7: "a" * 10**7},
    list(range(10**5)),
    (10**6000,) * 20,
    np.zeros((1000, 1000)),
]


@pytest.mark.parametrize("value", LONG, ids=lambda value: type(value).__name__)
def test_long_values_are_cut_without_memory(value: Any) -> None:
    tracemalloc.start()
    text = shortened(value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(text) <= MAX_SHOWN
    assert "\n" not in text
    assert peak < 1 << 20
