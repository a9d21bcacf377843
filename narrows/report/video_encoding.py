"""Clips as MP4 files in memory, which browsers play: H.264, 4:2:0, BT.709, without sound."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from narrows.media.video import Video
from narrows.media.video.colours import FromRgb
from narrows.report.embedding import LOSSY, MediaEncoder

VIDEO_BUDGET = 30_000_000  # bytes of data: URIs
MAX_BYTES = 1 << 26  # of the pixels of a clip: 97 frames of 640 × 360
BT709, LIMITED = 1, 1  # FFmpeg's numbers of the matrix and the range


def excerpt(clip: Video, seconds: float, max_bytes: int) -> Video:
    """The frames of the first seconds whose pixels take at most `max_bytes`; at least one."""
    size = clip.pixels[:, 0].size
    frames = max(1, min(clip.pixels.shape[1], int(seconds * clip.rate), max_bytes // size))
    return clip.with_array(clip.pixels[:, :frames].copy())


def mp4(clip: Video, crf: float) -> bytes:
    """Encodes a clip at its mean rate, in one thread.

    A key frame at least every 10 frames makes jumps quick. Where a side is odd, its last row or column is repeated.
    """
    import av

    sink, convert = io.BytesIO(), FromRgb("yuv420p")
    height, width = (side + side % 2 for side in clip.pixels.shape[2:])
    with av.open(sink, "w", format="mp4", options={"fflags": "+bitexact"}) as file:
        encoder = {"crf": f"{crf:g}", "preset": "veryfast", "g": "10", "x264-params": "mbtree=0"}  # its bytes may vary
        stream: Any = file.add_stream("libx264", rate=clip.rate, options=encoder)
        stream.width, stream.height, stream.pix_fmt, context = width, height, "yuv420p", stream.codec_context
        context.thread_count, context.time_base = 1, 1 / clip.rate
        context.colorspace, context.color_range = BT709, LIMITED
        context.color_primaries = context.color_trc = BT709
        for place in range(clip.pixels.shape[1]):
            frame = clip.pixels[:, place]
            padding = ((0, 0), (0, height - frame.shape[1]), (0, width - frame.shape[2]))
            picture = convert(np.pad(frame, padding, mode="edge"))
            picture.pts, picture.time_base = place, 1 / clip.rate
            for packet in stream.encode(picture):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)
    return sink.getvalue()


def mp4_encoder(crf: float, seconds: float) -> MediaEncoder:
    """Returns an encoder of the beginning of a clip, of up to `seconds` and 64 MiB of pixels."""

    def encode(clip: Video) -> tuple[str, bytes]:
        return "video/mp4", mp4(excerpt(clip, seconds, MAX_BYTES), crf)

    return encode


VIDEO_ENCODINGS: Sequence[tuple[str, MediaEncoder]] = (
    (f"H.264 (crf 16), up to 3 s, {LOSSY}", mp4_encoder(16, 3)),
    (f"H.264 (crf 20), up to 3 s, {LOSSY}", mp4_encoder(20, 3)),
    (f"H.264 (crf 20), up to 1.5 s, {LOSSY}", mp4_encoder(20, 1.5)),
)
