"""What constructors of parts check: sizes and shares may come from a file, and then nobody has looked at them."""

from collections.abc import Sequence

from narrows.errors import InputError

MOST = 65_536  # channels, layers, codebooks: beyond what any codec has


def check_whole(low: int, high: int, **values: int | Sequence[int]) -> None:
    """Raise InputError that names the first value that is not an integer, or a sequence of them, from low to high."""
    for name, value in values.items():
        for number in value if isinstance(value, tuple | list) else (value,):
            if type(number) is not int or not low <= number <= high:
                raise InputError(f"{name}={value!r} given, {low} to {high} wanted, a whole number")


def check_share(**values: float) -> None:
    """Raise InputError that names the first value that is not a number from 0 to 1."""
    for name, value in values.items():
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise InputError(f"{name}={value!r} given, 0 to 1 wanted")
