"""Checks the checksums in packets of FFV1, which FFmpeg's decoder reports in its log only.

A packet of version 3 consists of slices: data, length (3 bytes), status (1), CRC (4). The polynomial is 0x04C11DB7 from
the highest bit on, so that the CRC of a whole slice is 0. Source: RFC 9043, section 4.9.
"""

import zlib

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # the order of bits in a byte
_TRAILER = 8
_ONES = 0xFFFFFFFF


class SliceChecks:
    """Checks the packets of a stream, from the first one on that has checksums."""

    def __init__(self) -> None:
        self._known = False

    def damaged(self, packet: bytes) -> bool:
        """Whether the packet has a slice with a wrong checksum. False before a packet with right ones."""
        right = _right(packet)
        self._known = self._known or right
        return self._known and not right


def _right(packet: bytes) -> bool:
    """Whether the packet is made of slices with right checksums."""
    end = len(packet)
    while end >= _TRAILER:
        start = end - _TRAILER - int.from_bytes(packet[end - _TRAILER : end - _TRAILER + 3])
        # zlib's CRC has its bits in the other order, and begins and ends with all ones.
        if start < 0 or zlib.crc32(packet[start:end].translate(_REVERSED), _ONES) != _ONES:
            return False
        end = start
    return end == 0
