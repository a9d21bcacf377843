"""Bytes in memory: media files and streams take the same objects."""

from mmap import mmap

from narrows.errors import InputError

Bytes = bytes | bytearray | memoryview | mmap  # a file in memory, or memory-mapped


def byte_view(data: Bytes, what: str) -> memoryview:
    """All bytes of an object in order, without a copy where they lie next to each other.

    Args:
        data: bytes, a bytearray, a memoryview of any shape, or a memory-mapped file.
        what: what is expected, for the message.

    Raises:
        InputError: for another object, and for one that is closed or released.
    """
    kind = type(data).__name__
    if not isinstance(data, Bytes):
        raise InputError(
            f"expected {what}, got {kind}; {'use tobytes()' if hasattr(data, 'tobytes') else 'read the file'}"
        )
    try:
        view = memoryview(data)
        try:
            return view.cast("B")
        except TypeError:  # not contiguous, empty, or of items that are no plain numbers
            return memoryview(view.tobytes())
    except ValueError as error:
        raise InputError(f"expected {what}, got a {kind} that is closed or released; keep it open") from error
