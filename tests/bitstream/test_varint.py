import pytest

from narrows.bitstream.varint import Cursor, to_varint
from narrows.errors import DamagedStream


@pytest.mark.parametrize(("value", "data"), [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (24000, "c0bb01")])
def test_bytes(value, data):
    assert to_varint(value).hex() == data


@pytest.mark.parametrize("value", [0, 1, 127, 128, 16383, 16384, 2**31, 2**62, 2**63 - 1])
def test_round_trip(value):
    cursor = Cursor(memoryview(to_varint(value) + b"rest"))
    assert cursor.varint(2**63 - 1, "it") == value
    assert cursor.take(4, "the rest") == b"rest"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends inside it: expected 1 bytes, got 0"),
        (b"\x80", "ends inside it: expected 1 bytes, got 0"),
        (b"\x80\x00", "shortest form"),
        (b"\x65", "expected it of at most 100, got 101"),
        (b"\xff" * 9 + b"\x01", "expected it in at most 9 bytes"),
        (b"\xff" * 10**5, "expected it in at most 9 bytes"),
    ],
)
def test_refuses(data, message):
    with pytest.raises(DamagedStream, match=message):
        Cursor(memoryview(data)).varint(100, "it")


def test_take_beyond_the_end():
    with pytest.raises(DamagedStream, match="expected 3 bytes, got 2"):
        Cursor(memoryview(b"ab")).take(3, "a name")
