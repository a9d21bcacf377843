"""Unsigned integers of variable length (LEB128), and a cursor that checks the bounds of every read."""

from narrows.errors import DamagedStream

MAX_BYTES = 9  # 63 bits: everything in the format fits an int64


def to_varint(value: int) -> bytes:
    """An integer from 0 to 2^63 - 1 as LEB128: 7 bits per byte, low bits first, the top bit set in all but the last."""
    assert 0 <= value < 1 << 7 * MAX_BYTES
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Cursor:
    """Reads bytes forward; `what` names the field in error messages."""

    def __init__(self, view: memoryview, position: int = 0) -> None:
        self.view = view
        self.position = position

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes, as a copy. Raises DamagedStream if fewer are left."""
        left = len(self.view) - self.position
        if count > left:
            raise DamagedStream(
                f"the stream ends inside {what}: expected {count} bytes, got {left}; get the whole file"
            )
        self.position += count
        return bytes(self.view[self.position - count : self.position])

    def varint(self, limit: int, what: str) -> int:
        """The next LEB128 integer. Raises DamagedStream if it is above `limit`, or longer than needed."""
        value = 0
        for index in range(MAX_BYTES):
            byte = self.take(1, what)[0]
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                if byte == 0 and index:
                    raise DamagedStream(
                        f"expected {what} in its shortest form, got a longer one; the stream is damaged"
                    )
                if value > limit:
                    raise DamagedStream(f"expected {what} of at most {limit}, got {value}; the stream is damaged")
                return value
        raise DamagedStream(f"expected {what} in at most {MAX_BYTES} bytes, got more; the stream is damaged")
