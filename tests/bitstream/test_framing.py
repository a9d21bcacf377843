import pytest

from narrows.bitstream import write
from narrows.bitstream.framing import Framing
from narrows.errors import DamagedStream


@pytest.mark.parametrize("raw", [False, True])
def test_frames_lie_end_to_end(make, raw):
    header, codes, tables = make(raw=raw)
    view = memoryview(write(header, codes, tables))
    framing = Framing(header)
    starts = framing.locate(view).tolist()
    assert len(starts) == header.chunks == 4
    for chunk, end in enumerate([*starts[1:], len(view)]):
        frame = framing.frame(view, starts[chunk], chunk)
        assert frame.stop == end
        assert frame.payload - frame.start == (4 if raw else 5)
        payload = framing.payload(view, frame, chunk)
        assert framing.wrap(chunk, payload) == view[frame.start : frame.stop]


def test_a_frame_knows_its_place(make):
    header, codes, tables = make()
    view = memoryview(write(header, codes, tables))
    framing = Framing(header)
    frame = framing.frame(view, framing.size, 0)
    assert framing.match(view, frame, range(4)) == 0
    assert framing.match(view, frame, range(1, 4)) is None
    with pytest.raises(DamagedStream, match=r"chunk 2 of 4 \(grid steps 12 to 17\) fails its checksum"):
        framing.payload(view, frame, 2)


def test_more_chunks_than_bytes(make):
    header, codes, tables = make()
    with pytest.raises(DamagedStream, match="promises 4 chunks, at most 2 fit"):
        Framing(header).locate(memoryview(write(header, codes, tables))[: len(header.to_bytes()) + 14])
