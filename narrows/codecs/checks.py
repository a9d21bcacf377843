"""Checks of constructor arguments of parts, which may come from a file, and of image shapes."""

from collections.abc import Sequence

from narrows.errors import InputError

MOST = 65_536  # channels, layers, codebooks: more than any codec has


def check_whole(low: int, high: int, **values: int) -> None:
    """Raise InputError that names the first value that is not an integer from low to high."""
    for name, value in values.items():
        if type(value) is not int or not low <= value <= high:
            raise InputError(f"expected {name} to be an integer from {low} to {high}, got {value!r}")


def check_several(low: int, high: int, **values: Sequence[int]) -> None:
    """Raise InputError that names the first value that is not a list of at least one integer from low to high."""
    for name, value in values.items():
        if not isinstance(value, list | tuple) or not value:
            raise InputError(f"expected {name} to be a list of integers from {low} to {high}, got {value!r}")
        for number in value:
            check_whole(low, high, **{name: number})


def check_fraction(**values: float) -> None:
    """Raise InputError that names the first value that is not a number from 0 to 1."""
    for name, value in values.items():
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise InputError(f"expected {name} from 0 to 1, got {value!r}")
