import pytest

from narrows.codecs import (
    FSQ,
    Grouped,
    Projection,
)
from narrows.errors import InputError


@pytest.mark.parametrize(
    "make",
    [
        lambda: Grouped(8, []),
        lambda: Grouped(8, [FSQ(4)], Projection(8, 5)),
    ],
)
def test_invalid_arguments_raise(make: object) -> None:
    with pytest.raises(InputError, match="expected"):
        make()  # type: ignore[operator]
