"""What constructors of parts check: sizes and shares may come from a file, and then nobody has looked at them."""

from collections.abc import Sequence

from narrows.errors import InputError

MOST = 65_536  # channels, layers, codebooks: beyond what any codec has


def check_whole(low: int, high: int, **values: int) -> None:
    """Raise InputError that names the first value that is not a whole number from low to high."""
    for name, value in values.items():
        if type(value) is not int or not low <= value <= high:
            raise InputError(f"{name}={value!r} given, {low} to {high} wanted, a whole number")


def check_several(low: int, high: int, **values: Sequence[int]) -> None:
    """Raise InputError that names the first value that is not some whole numbers from low to high, at least one."""
    for name, value in values.items():
        if not isinstance(value, list | tuple) or not value:
            raise InputError(f"{name}={value!r} given, several whole numbers from {low} to {high} wanted")
        for number in value:
            check_whole(low, high, **{name: number})


def check_share(**values: float) -> None:
    """Raise InputError that names the first value that is not a number from 0 to 1."""
    for name, value in values.items():
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise InputError(f"{name}={value!r} given, 0 to 1 wanted")
