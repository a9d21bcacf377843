"""The limits of the format. A reader checks them before it allocates memory.

They allow every codec that we know of, and they bound the work and the memory that a number in a header can cause.
"""

MAX_NAME = 63  # bytes of UTF-8
MAX_ATTACHMENT = 2**40  # bytes of one attachment
MAX_CODEBOOKS = 1024
MAX_DIGITS = 8  # digits of one code
MAX_ALPHABET = 4096  # symbols of one digit; a larger table would consist mostly of ones
MAX_CODEBOOK_SIZE = 2**62  # codes of one codebook, so that a code fits an int64
MAX_CHUNKS = 2**32 - 1  # the index of a chunk is hashed as 32 bits
MAX_SYMBOLS = 2**20  # digits of one chunk: 8 MiB once they are int64 codes
MAX_INDEXED_SYMBOLS = 2**24  # the same with a table index per symbol, where codes are int16: 32 MiB
MAX_QUALITY_INDEX = 255  # largest quality index of a model that gives a table index per symbol
MAX_BYTES_AT_ONCE = 2**29  # bytes of codes that `read` and `recover` return in one array; `Reader` has no such limit
