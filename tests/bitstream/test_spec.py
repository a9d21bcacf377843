"""docs/stream.md is right: a reader written only from it decodes its example, and other streams of this library."""

import re
import zlib
from pathlib import Path

import numpy as np
import pytest

from narrows.bitstream import (
    AudioExtent,
    FrequencyTables,
    ImageExtent,
    StreamHeader,
    VideoExtent,
    integer_frequencies,
    read,
    write,
)

DOCUMENT = (Path(__file__).parents[2] / "docs" / "stream.md").read_text()
TABLES = [[32768, 16384, 8192, 4096, 2048, 1024, 512, 512], [3856] + [3855] * 16, [3856] + [3855] * 16]


def plain_read(data, tables, decode):
    """Codes as nested lists [chunk][k][c * positions], in plain Python."""
    at = 0

    def take(count):
        nonlocal at
        at += count
        return data[at - count : at]

    def varint():
        value, shift = 0, 0
        while True:
            byte = take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    assert take(5) == b"\x8eNRW\x02"
    medium, coder = divmod(take(1)[0], 16)
    attached, coder = divmod(coder, 8)
    take(3)
    take(varint())
    take(12 if coder else 8)
    for _ in range({1: 3, 2: 3, 3: 6}[medium]):
        varint()
    groups, codebooks, radices = varint(), varint(), []
    while len(radices) < codebooks:
        run = varint()
        radices += [[varint() for _ in range(varint())]] * run
    grid = [varint() for _ in range(medium)]
    steps = varint()
    attachments = [(take(1)[0], varint()) for _ in range(varint() if attached else 0)]
    head = data[:at]
    assert take(4) == zlib.crc32(head).to_bytes(4, "little")
    for kind, length in attachments:
        stored, payload = take(4), take(length)
        assert stored == zlib.crc32(head + payload + bytes([kind])).to_bytes(4, "little")

    chunks = []
    for index, start in enumerate(range(0, grid[0], steps)):
        count = groups * min(steps, grid[0] - start) * int(np.prod(grid[1:]))
        begin = at
        widths = [int(np.prod(digits) - 1).bit_length() for digits in radices]
        size = varint() if coder else -(-count * sum(widths) // 8)
        length, stored, payload = data[begin:at], take(4), take(size)
        assert stored == zlib.crc32(head + length + payload + index.to_bytes(4, "little")).to_bytes(4, "little")
        chunks.append([])
        streams = iter(decode(payload, tables[: sum(map(len, radices))], count) if coder else ())
        bits = int.from_bytes(payload, "little")
        for digits, width in zip(radices, widths, strict=True):
            codes, weight = [0] * count, 1
            for place in range(count if not coder else 0):
                codes[place] = bits & (1 << width) - 1
                bits >>= width
            for radix in digits if coder else ():
                codes = [code + weight * digit for code, digit in zip(codes, next(streams), strict=True)]
                weight *= radix
            chunks[-1].append(codes)
    assert at == len(data)
    return chunks


def blocks():
    return re.findall(r"```\n(.*?)```", DOCUMENT, re.DOTALL)


def test_the_example(reference):
    data = b""
    for line in blocks()[0].splitlines():
        offset, digits = re.fullmatch(r" ?(\d+)  ((?:[0-9a-f]{2} )+) .*", line + " ").groups()
        assert int(offset) == len(data)
        data += bytes.fromhex(digits)
    codes = [[int(number) for number in line.split()] for line in blocks()[1].splitlines()]
    first, second = plain_read(data, TABLES, reference.decode)
    assert [a + b for a, b in zip(first, second, strict=True)] == codes
    tables = FrequencyTables(tuple(np.array(table) for table in TABLES))
    assert read(data, tables)[0].tolist() == codes
    header = StreamHeader(
        "golden", bytes(range(1, 9)), AudioExtent(16000, 3200, 1), ((8,), (17, 17)), (10,), 6, 1, tables.digest[:4]
    )
    assert write(header, np.array([codes]), tables) == data
    assert f"{len(data)} bytes: 10 frames" in DOCUMENT


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize(
    ("extent", "grid"),
    [(AudioExtent(8000, 9, 2), (23,)), (ImageExtent(4, 4, 3), (5, 7)), (VideoExtent(2, 4, 4, 3, 25, 1), (4, 3, 5))],
)
def test_other_streams(extent, grid, raw, reference):
    rng = np.random.default_rng(len(grid))
    radices = ((50,), (50,), (1,), (9, 10, 11), (2,))
    tables = FrequencyTables(tuple(integer_frequencies(rng.random(size) ** 4) for size in (50, 50, 1, 9, 10, 11, 2)))
    sizes = np.array([50, 50, 1, 990, 2]).reshape(1, 5, *(1,) * len(grid))
    codes = (rng.random((2, 5, *grid)) * sizes).astype(np.int64)
    digest = None if raw else tables.digest[:4]
    header = StreamHeader("m", bytes(8), extent, radices, grid, 3, 2, digest)
    attachments = {"alpha": b"abc", "audio": bytes(200)} if raw else {}
    data = write(header, codes, None if raw else tables, attachments)
    lists = [table.tolist() for table in tables.frequencies]
    for index, chunk in enumerate(plain_read(data, lists, reference.decode)):
        part = codes[:, :, 3 * index : 3 * index + 3]
        assert chunk == [part[:, codebook].reshape(-1).tolist() for codebook in range(5)]
