"""The clips that this library takes: frames of up to 67 million pixels, at a rate of two integers."""

from fractions import Fraction

from narrows.errors import InputError, shortened
from narrows.media.extents import MAX_RATE

MAX_PIXELS = 1 << 26  # of a frame, 8192 × 8192; larger ones are refused before memory is allocated


def size_error(height: int, width: int, where: str = "") -> str | None:
    """The error message for a size of frames in pixels that is out of range, or None; `where` follows the size."""
    if height >= 1 and width >= 1 and height * width <= MAX_PIXELS:
        return None
    return (
        f"expected frames of 1 to {MAX_PIXELS} pixels, got {shortened(width)} × {shortened(height)}{where}; scale them"
    )


def check_size(height: object, width: object) -> None:
    """Raise InputError for a size that is not of whole numbers, or out of range."""
    for name, value in (("height", height), ("width", width)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"expected the {name} of frames as a whole number, got {shortened(value)}")
    assert isinstance(height, int)
    assert isinstance(width, int)
    if message := size_error(height, width):
        raise InputError(message)


def exact_rate(rate: object) -> Fraction:
    """A frame rate as a fraction. Raises InputError for one that is no positive integer or fraction of such."""
    if isinstance(rate, bool) or not isinstance(rate, int | Fraction):
        raise InputError(
            f"expected a frame rate as an integer or a Fraction, got {shortened(rate)}; "
            "for NTSC video, give Fraction(30000, 1001)"
        )
    if rate <= 0 or max(Fraction(rate).as_integer_ratio()) > MAX_RATE:
        raise InputError(f"expected a frame rate above 0, of integers up to {MAX_RATE}, got {shortened(rate)}")
    return Fraction(rate)
