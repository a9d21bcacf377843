"""The coder that a header names: fixed bits (0) or rANS with tables (1)."""

from narrows.bitstream.header import DIGEST, StreamHeader
from narrows.bitstream.radices import stream_sizes
from narrows.bitstream.rans import RansCoder
from narrows.bitstream.raw import RawCoder
from narrows.bitstream.tables import Tables
from narrows.errors import InputError, WrongModel

Coder = RansCoder | RawCoder


def make_coder(header: StreamHeader, tables: Tables | None) -> Coder:
    """Codes and decodes the chunks of a stream. The tables given for a raw stream are not looked at.

    Raises InputError for missing tables and WrongModel for others than the header names.
    """
    if header.tables_digest is None:
        return RawCoder(header.radices)
    if tables is None:
        raise InputError(f"a stream of model {header.model!r} needs the tables of that model; give tables=")
    given = tables.digest[:DIGEST]
    if given != header.tables_digest:
        raise WrongModel(
            f"the header names the tables {header.tables_digest.hex()} of model {header.model!r}, "
            f"those given are {given.hex()}; load the model that it names"
        )
    sizes = stream_sizes(header.radices)
    if tables.sizes[: len(sizes)] != sizes:
        raise WrongModel(f"the header names alphabets {sizes}, the tables have {tables.sizes}; load the right model")
    return RansCoder(header.radices, tables)
