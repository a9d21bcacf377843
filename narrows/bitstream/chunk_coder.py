"""The coder of a stream: raw (0), or rANS with tables that are fixed (1), chosen (2) or predicted (3)."""

from narrows.bitstream.frequency_tables import FrequencyTables
from narrows.bitstream.header import DIGEST_BYTES, StreamHeader
from narrows.bitstream.indexed import IndexedCoder, IndexedTables
from narrows.bitstream.predicted import PredictedCoder, PredictedTables
from narrows.bitstream.radices import alphabet_sizes, codebook_sizes
from narrows.bitstream.rans import RansCoder
from narrows.bitstream.raw import RawCoder
from narrows.errors import InputError, WrongModel, shortened

Tables = FrequencyTables | IndexedTables | PredictedTables
KINDS = {"rans": FrequencyTables, "indexed": IndexedTables, "predicted": PredictedTables}  # by the coder in the header
ChunkCoder = RansCoder | RawCoder | IndexedCoder | PredictedCoder


def make_chunk_coder(header: StreamHeader, tables: Tables | None) -> ChunkCoder:
    """The coder of the chunks of a stream.

    Args:
        header: header of the stream.
        tables: tables of the model; ignored for a raw stream.

    Raises:
        InputError: for missing tables.
        WrongModel: for tables that differ from those in the header.
    """
    if header.tables_digest is None:
        return RawCoder(header.radices)
    if tables is None:
        raise InputError(f"expected the tables of model {header.model!r}, got none; load a model that has them")
    given = tables.digest[:DIGEST_BYTES]
    if given != header.tables_digest:
        raise WrongModel(
            f"expected the tables {header.tables_digest.hex()} of model {header.model!r}, as the header says, "
            f"got {given.hex()}; load that model"
        )
    if not isinstance(tables, KINDS[header.coder]):
        raise WrongModel(
            f"expected tables for the coder {header.coder!r}, got {type(tables).__name__}; load the right model"
        )
    if isinstance(tables, IndexedTables):
        assert header.quality_index is not None
        return IndexedCoder(tables, len(header.radices), header.radices[0][0], header.quality_index)
    if isinstance(tables, PredictedTables):
        expected = codebook_sizes(header.radices)
        if tables.codebook_sizes[: len(expected)] != expected:
            raise WrongModel(
                f"expected tables of the codebooks {shortened(expected)}, got others; load the right model"
            )
        return PredictedCoder(tables, len(expected))
    sizes = alphabet_sizes(header.radices)
    if tables.sizes[: len(sizes)] != sizes:
        raise WrongModel(
            f"expected tables of the alphabets {sizes}, got {shortened(tables.sizes)}; load the right model"
        )
    return RansCoder(header.radices, tables)
