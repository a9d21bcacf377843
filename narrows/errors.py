"""The errors that this library raises.

    NarrowsError
    ├── InputError          an invalid tensor, number or option
    ├── MediaError          a media file that cannot be read or written
    │   └── OutputExists    an output that exists and may not be replaced
    ├── PartError           a description of a part with an unknown or missing name or argument
    ├── ModelError          a model name, folder or weights file that cannot be loaded
    └── StreamError         an .nrw stream that cannot be read
        ├── DamagedStream   bytes are missing or were changed
        ├── NewerStream     written by a later version of the format
        └── WrongModel      made by another model, or by other weights of the same name

Each message is one line: what was expected, what was got, what to do. `shortened` shows what was got.
"""

import reprlib
from typing import Any

MAX_SHOWN = 80  # characters of a value in a message
MAX_BITS = 256  # of an integer that is shown in digits; Python refuses to print very long ones


class NarrowsError(Exception):
    """Base of all errors raised on purpose by this library."""


class InputError(NarrowsError, ValueError):
    """An invalid tensor, number or option."""


class MediaError(NarrowsError):
    """A media file that cannot be read or written."""


class OutputExists(MediaError):
    """An output that exists and may not be replaced."""


class PartError(NarrowsError, ValueError):
    """A description of a part with an unknown or missing name or argument."""


class ModelError(NarrowsError):
    """A model name, folder or weights file that cannot be loaded."""


class StreamError(NarrowsError):
    """An .nrw stream that cannot be read."""


class DamagedStream(StreamError):
    """Bytes of the stream are missing or were changed."""


class NewerStream(StreamError):
    """The stream was written by a later version of the format."""


class WrongModel(StreamError):
    """The stream was made by another model, or by other weights of the same name."""


class PluginWarning(UserWarning):
    """What an installed package announces cannot be used, and is left out."""


class LicenceWarning(UserWarning):
    """The licence of loaded weights does not allow commercial use."""


class _Short(reprlib.Repr):
    """Looks at the first items and characters only, so that a long value takes neither time nor memory."""

    def repr_str(self, x: Any, level: int) -> str:
        """The beginning of a text or of bytes."""
        return repr(x[: MAX_SHOWN + 1])

    repr_bytes = repr_bytearray = repr_str

    def repr_int(self, x: int, level: int) -> str:
        """The digits of an integer."""
        return repr(x) if x.bit_length() <= MAX_BITS else f"an integer of {x.bit_length()} bits"

    def repr_float(self, x: float, level: int) -> str:
        """9 for 9.0."""
        return repr(x).removesuffix(".0")

    def repr_instance(self, x: Any, level: int) -> str:
        """Any other object."""
        if isinstance(x, str | bytes | bytearray):  # a subclass
            return self.repr_str(x, level)
        try:
            return repr(x)
        except Exception:  # of any class, by code of others
            return f"an object of type {type(x).__name__}"


_SHORT = _Short()
_NO_MEMORY = ("allocate memory", "not enough memory", "out of memory")


def shortened(value: object) -> str:
    """What a value looks like, for a message: one line of at most 80 characters."""
    text = " ".join(_SHORT.repr(value).split())
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out. PyTorch raises a RuntimeError, which its text tells apart."""
    by_torch = isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    return by_torch or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def described(value: Any) -> str:
    """The type and shape of an array, for a message; the type of something else."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return f"no array but {type(value).__name__}"
