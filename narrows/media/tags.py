"""Tags that other programs put in front of an audio file: ID3v2 and APEv2.

Tags behind the audio (ID3v1, Lyrics3, APEv2) need no care: the container says where the audio ends.
"""

from typing import BinaryIO

from narrows.media.binary import bytes_at, number

_MAX_TAGS = 100


def after_tags(file: BinaryIO) -> int:
    """The offset after the tags at the beginning of a file; its position changes."""
    at = 0
    for _ in range(_MAX_TAGS):
        head = bytes_at(file, at, 32)
        if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 128:
            size = sum(byte << 7 * place for place, byte in enumerate(reversed(head[6:10])))  # 7 bits of each byte
            at += 10 + size + (10 if head[5] & 0x10 else 0)
        elif head[:8] == b"APETAGEX":
            at += 32 + number(head, 12, "<I")
        else:
            break
    return at
