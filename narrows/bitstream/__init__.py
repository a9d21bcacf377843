"""Converts codes to bytes and back: the `.nrw` stream, specified in docs/stream.md.

    codes (G, K, *grid) ──▶ symbol streams ──▶ rANS or fixed bits ──▶ chunks with checksums ──▶ bytes
                            radices            tables                 header

Shapes: G groups of channels that are coded side by side (1 unless a signal has more channels than the codec),
K codebooks, *grid the latent grid (F,), (H, W) or (T, H, W), V the size of a codebook.
This package uses neither networks nor media files; of narrows.media it imports only the extents.

    header.py            what a stream holds          writer.py, reader.py  codes to a stream and back
    framing.py           chunks in the stream         recovery.py           codes of a damaged stream
    raw.py               coder 0: fixed bits          radices.py            codes as digits
    rans.py              coder 1: table per stream    frequency_tables.py   integer frequencies
    indexed.py           coder 2: table per symbol    predicted.py          coder 3: a network predicts tables
    limits.py, varint.py  numbers in the header

Whole streams    write, read; read_header: a StreamHeader; inspect: an Inspection; recover: a Recovered, with Damage
In parts         Writer, Reader; its chunks are DecodedChunk
Tables           FrequencyTables, integer_frequencies; IndexedTables: chosen symbol by symbol; PredictedTables: computed
Codes            codes_to_symbols, symbols_to_codes, codebook_sizes, alphabet_sizes; Radices: digits of each codebook
Sizes            Extent: AudioExtent, ImageExtent, VideoExtent
"""

from narrows.bitstream.chunk_coder import Tables
from narrows.bitstream.frequency_tables import FrequencyTables, integer_frequencies
from narrows.bitstream.header import StreamHeader, read_header
from narrows.bitstream.indexed import IndexedTables
from narrows.bitstream.predicted import PredictedTables
from narrows.bitstream.radices import Radices, alphabet_sizes, codebook_sizes, codes_to_symbols, symbols_to_codes
from narrows.bitstream.reader import DecodedChunk, Reader, read
from narrows.bitstream.recovery import Damage, Inspection, Recovered, inspect, recover
from narrows.bitstream.writer import Writer, write
from narrows.media.extents import AudioExtent, Extent, ImageExtent, VideoExtent

__all__ = [
    "AudioExtent",
    "Damage",
    "DecodedChunk",
    "Extent",
    "FrequencyTables",
    "ImageExtent",
    "IndexedTables",
    "Inspection",
    "PredictedTables",
    "Radices",
    "Reader",
    "Recovered",
    "StreamHeader",
    "Tables",
    "VideoExtent",
    "Writer",
    "alphabet_sizes",
    "codebook_sizes",
    "codes_to_symbols",
    "inspect",
    "integer_frequencies",
    "read",
    "read_header",
    "recover",
    "symbols_to_codes",
    "write",
]
