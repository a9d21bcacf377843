"""Unsigned integers in few bytes (LEB128), and a cursor that never reads beyond the bytes that are there."""

from narrows.errors import DamagedStream

MAX_BYTES = 9  # 63 bits: everything in the format fits an int64


def to_varint(value: int) -> bytes:
    """The integer in 0 .. 2^63-1 as LEB128: seven bits a byte, low bits first, the top bit set on all but the last."""
    assert 0 <= value < 1 << 7 * MAX_BYTES
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Cursor:
    """Reads forward through bytes; every read is checked against the end and against the limit that is stated."""

    def __init__(self, view: memoryview, position: int = 0) -> None:
        self.view = view
        self.position = position

    def take(self, count: int, what: str) -> bytes:
        """The next bytes, as a copy. Raises DamagedStream where fewer are left."""
        left = len(self.view) - self.position
        if count > left:
            raise DamagedStream(f"the stream ends inside {what}: {left} bytes are left of {count}; get the whole file")
        self.position += count
        return bytes(self.view[self.position - count : self.position])

    def varint(self, limit: int, what: str) -> int:
        """The next LEB128 integer, at most `limit`. Raises DamagedStream where it is longer, larger or padded."""
        value = 0
        for index in range(MAX_BYTES):
            byte = self.take(1, what)[0]
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                if byte == 0 and index:
                    raise DamagedStream(f"{what} is not in its shortest form; the stream is damaged")
                if value > limit:
                    raise DamagedStream(f"{what} is {value}, at most {limit} is possible; the stream is damaged")
                return value
        raise DamagedStream(f"{what} takes more than {MAX_BYTES} bytes; the stream is damaged")
