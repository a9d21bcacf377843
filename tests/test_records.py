from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from narrows.errors import InputError
from narrows.records import parse_json, to_record


@dataclass(frozen=True)
class Inner:
    size: int
    fraction: float | None = None


@dataclass(frozen=True)
class Outer:
    name: str
    kind: Literal["a", "b"]
    inner: Sequence[Inner]
    either: bool | str = True
    numbers: Mapping[str, float] = field(default_factory=dict)
    free: Any = None


def test_a_record_is_built_recursively():
    given = {"name": "x", "kind": "b", "inner": [{"size": 1, "fraction": 2}], "either": "no", "numbers": {"y": 3}}
    found = to_record(Outer, given | {"free": [{}]})
    assert found == Outer("x", "b", (Inner(1, 2.0),), "no", {"y": 3.0}, [{}])
    assert type(found.inner[0].fraction) is float
    assert to_record(Inner, {"size": 1, "fraction": None}) == Inner(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 1}, "expected a string for it.name, got 1"),
        ({"kind": "c"}, "expected 'a' or 'b' for it.kind, got 'c'"),
        ({"inner": [{"size": 1.5}]}, r"expected an integer for it.inner\[0\].size, got 1.5"),
        ({"inner": [{"size": True}]}, "expected an integer for .*, got True"),
        ({"inner": [{"size": 1, "fraction": "x"}]}, "expected a number for .*, got 'x'"),
        ({"inner": [7]}, r"expected an object for it.inner\[0\], got 7"),
        ({"inner": "x" * 99}, "expected a list for it.inner, got 'x*…"),
        ({"either": 3}, "expected a string for it.either, got 3"),
        ({"numbers": {"y": []}}, r"expected a number for it.numbers\['y'\], got \[\]"),
        ({"more": 1}, "expected the keys name, kind, .* in it, got the unknown key 'more'"),
    ],
)
def test_other_types_and_keys(change, message):
    with pytest.raises(InputError, match=message):
        to_record(Outer, {"name": "x", "kind": "a", "inner": []} | change)


def test_a_missing_key():
    with pytest.raises(InputError, match="expected the key 'name' in it, got none"):
        to_record(Outer, {"kind": "a", "inner": []})


@pytest.mark.parametrize("text", ["{", "NaN", '{"a": -Infinity}', b"\xff"])
def test_invalid_json(text):
    with pytest.raises(InputError, match="expected JSON, got invalid text"):
        parse_json(text)
