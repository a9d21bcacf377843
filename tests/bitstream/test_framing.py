import pytest

from narrows.bitstream import write
from narrows.bitstream.framing import Framing
from narrows.errors import DamagedStream


@pytest.mark.parametrize("raw", [False, True])
def test_chunks_follow_each_other(make, raw):
    header, codes, tables = make(raw=raw)
    view = memoryview(write(header, codes, tables))
    framing = Framing(header)
    starts = framing.locate(view).tolist()
    assert len(starts) == header.chunks == 4
    for chunk, end in enumerate([*starts[1:], len(view)]):
        offsets = framing.parse(view, starts[chunk], chunk)
        assert offsets.stop == end
        assert offsets.payload - offsets.start == (4 if raw else 5)
        payload = framing.payload(view, offsets, chunk)
        assert framing.wrap(chunk, payload) == view[offsets.start : offsets.stop]


def test_the_checksum_depends_on_the_index(make):
    header, codes, tables = make()
    view = memoryview(write(header, codes, tables))
    framing = Framing(header)
    offsets = framing.parse(view, framing.header_bytes, 0)
    assert framing.match(view, offsets, range(4)) == 0
    assert framing.match(view, offsets, range(1, 4)) is None
    with pytest.raises(DamagedStream, match=r"chunk 2 of 4 \(grid steps 12 to 17\) fails its checksum"):
        framing.payload(view, offsets, 2)


def test_more_chunks_than_fit_into_the_bytes(make):
    header, codes, tables = make()
    with pytest.raises(DamagedStream, match="expected 4 chunks, got a stream that is too short for more than 2"):
        Framing(header).locate(memoryview(write(header, codes, tables))[: len(header.to_bytes()) + 14])
