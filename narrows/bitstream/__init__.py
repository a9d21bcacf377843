"""Integers to bytes and back: the `.nrw` stream, specified in docs/stream.md.

    codes (C, K, *grid) ──▶ symbol streams ──▶ rANS or fixed bits ──▶ chunks with checksums ──▶ bytes
                            radices            tables                 header

Shapes: C signals that were coded side by side, K codebooks, *grid the latent grid (F,), (H, W) or (T, H, W), V the size
of a codebook. This package knows neither networks nor files of media.
"""

from narrows.bitstream.frequency_tables import FrequencyTables, quantize
from narrows.bitstream.header import StreamHeader, read_header
from narrows.bitstream.indexed import Prior
from narrows.bitstream.radices import Radices, codebook_sizes, join, split, stream_sizes
from narrows.bitstream.reader import Chunk, Reader, read
from narrows.bitstream.recovery import Damage, Inspection, Recovered, inspect, recover
from narrows.bitstream.writer import Writer, write
from narrows.media.extents import AudioExtent, Extent, ImageExtent, VideoExtent

__all__ = [
    "AudioExtent",
    "Chunk",
    "Damage",
    "Extent",
    "FrequencyTables",
    "ImageExtent",
    "Inspection",
    "Prior",
    "Radices",
    "Reader",
    "Recovered",
    "StreamHeader",
    "VideoExtent",
    "Writer",
    "codebook_sizes",
    "inspect",
    "join",
    "quantize",
    "read",
    "read_header",
    "recover",
    "split",
    "stream_sizes",
    "write",
]
