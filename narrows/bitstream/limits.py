"""The hard limits of the format. A reader refuses what exceeds them before it allocates anything.

They are wide enough for every codec we know of and narrow enough that no number in a header, however large, makes a
reader do more work or take more memory than the bytes that are there can justify.
"""

MAX_NAME = 63  # bytes of UTF-8
MAX_CODEBOOKS = 1024
MAX_DIGITS = 8  # digits of one code
MAX_ALPHABET = 4096  # symbols of one digit; a table of more would be mostly ones
MAX_CODEBOOK = 2**62  # codes of one codebook, so that a code fits an int64
MAX_CHUNKS = 2**32 - 1  # the index of a chunk is hashed as 32 bits
MAX_SYMBOLS = 2**20  # digits of one chunk: 8 MiB once they are int64 codes
MAX_INDEXED_SYMBOLS = 2**24  # the same where tables are chosen, and codes are kept in 16 bits: 32 MiB
MAX_QUALITY_INDEX = 255  # of a model that chooses tables
MAX_BYTES_AT_ONCE = 2**29  # of codes that `read` and `recover` return in one array; `Reader` has no such limit
