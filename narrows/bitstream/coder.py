"""The coder that a header names: fixed bits (0), rANS with a table for each codebook (1) or with chosen tables (2)."""

from narrows.bitstream.frequency_tables import FrequencyTables
from narrows.bitstream.header import DIGEST, StreamHeader
from narrows.bitstream.indexed import IndexedCoder, Prior
from narrows.bitstream.radices import stream_sizes
from narrows.bitstream.rans import RansCoder
from narrows.bitstream.raw import RawCoder
from narrows.errors import InputError, WrongModel

Coder = RansCoder | RawCoder | IndexedCoder


def make_coder(header: StreamHeader, prior: FrequencyTables | Prior | None) -> Coder:
    """Codes and decodes the chunks of a stream. What is given for a raw stream is not looked at.

    Raises InputError for a missing prior and WrongModel for another than the header names.
    """
    if header.tables_digest is None:
        return RawCoder(header.radices)
    if prior is None:
        raise InputError(f"a stream of model {header.model!r} needs the tables of that model; give tables=")
    tables = prior if isinstance(prior, FrequencyTables) else prior.tables
    given = tables.digest[:DIGEST]
    if given != header.tables_digest:
        raise WrongModel(
            f"the header names the tables {header.tables_digest.hex()} of model {header.model!r}, "
            f"those given are {given.hex()}; load the model that it names"
        )
    if isinstance(prior, Prior) != (header.quality_index is not None):
        raise WrongModel(f"the stream is of coder {header.coder}, the prior given is of another; load the right model")
    if isinstance(prior, Prior) and header.quality_index is not None:
        return IndexedCoder(prior, len(header.radices), header.radices[0][0], header.quality_index)
    sizes = stream_sizes(header.radices)
    if tables.sizes[: len(sizes)] != sizes:
        raise WrongModel(f"the header names alphabets {sizes}, the tables have {tables.sizes}; load the right model")
    return RansCoder(header.radices, tables)
