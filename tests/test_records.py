from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from narrows.errors import InputError
from narrows.records import parsed, record


@dataclass(frozen=True)
class Inner:
    size: int
    share: float | None = None


@dataclass(frozen=True)
class Outer:
    name: str
    kind: Literal["a", "b"]
    inner: Sequence[Inner]
    either: bool | str = True
    numbers: Mapping[str, float] = field(default_factory=dict)
    free: Any = None


def test_a_record_is_built_through_all_its_fields():
    given = {"name": "x", "kind": "b", "inner": [{"size": 1, "share": 2}], "either": "no", "numbers": {"y": 3}}
    found = record(Outer, given | {"free": [{}]})
    assert found == Outer("x", "b", (Inner(1, 2.0),), "no", {"y": 3.0}, [{}])
    assert type(found.inner[0].share) is float
    assert record(Inner, {"size": 1, "share": None}) == Inner(1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": 1}, "it.name is 1, a text is wanted"),
        ({"kind": "c"}, "it.kind is 'c', 'a' or 'b' is wanted"),
        ({"inner": [{"size": 1.5}]}, r"it.inner\[0\].size is 1.5, an integer is wanted"),
        ({"inner": [{"size": True}]}, "an integer is wanted"),
        ({"inner": [{"size": 1, "share": "x"}]}, "a number is wanted"),
        ({"inner": [7]}, r"it.inner\[0\] is 7, an object is wanted"),
        ({"inner": "x" * 99}, "…, a list is wanted"),
        ({"either": 3}, "it.either is 3, a text is wanted"),
        ({"numbers": {"y": []}}, r"it.numbers\['y'\] is \[\], a number is wanted"),
        ({"more": 1}, "it has an unknown key 'more'"),
    ],
)
def test_what_does_not_fit_is_named(change, told):
    with pytest.raises(InputError, match=told):
        record(Outer, {"name": "x", "kind": "a", "inner": []} | change)


def test_what_is_missing_is_named():
    with pytest.raises(InputError, match="it has no 'name'"):
        record(Outer, {"kind": "a", "inner": []})


@pytest.mark.parametrize("text", ["{", "NaN", '{"a": -Infinity}', b"\xff"])
def test_no_json(text):
    with pytest.raises(InputError, match="no JSON"):
        parsed(text)
