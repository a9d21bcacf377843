"""Whether a recording has more than speech codecs of 16 kHz keep: several channels, or content above 8 kHz."""

import numpy as np

from narrows.media.audio.reader import AudioReader
from narrows.media.files import Source

LIMIT = 8000.0  # Hz
MIN_SHARE = 1e-5  # of the energy, above the limit: 50 dB below all
WINDOW = 4096  # samples
SECONDS = 60  # of the beginning of a recording, which are examined


def is_full_band(source: Source) -> bool:
    """Whether a recording has two channels or more, or more than 1e-5 of its energy above 8 kHz in its first minute.

    Raises:
        MediaError: if the file cannot be read.
    """
    with AudioReader(source) as reader:
        if reader.channels > 1:
            return True
        rate = reader.sample_rate
        if rate <= 2 * LIMIT:
            return False
        first, window = int(np.ceil(LIMIT * WINDOW / rate)), np.hanning(WINDOW)
        above, total, left = 0.0, 0.0, SECONDS * rate
        for block in reader.blocks(WINDOW * 64):
            frames = block[0, : block.shape[1] // WINDOW * WINDOW].reshape(-1, WINDOW)
            power = np.square(np.abs(np.fft.rfft(frames * window))).sum(0)
            above, total, left = above + float(power[first:].sum()), total + float(power.sum()), left - block.shape[1]
            if left <= 0:
                break
        return above > MIN_SHARE * total
