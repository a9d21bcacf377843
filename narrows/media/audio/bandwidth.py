"""Whether a recording has more than speech codecs of 16 kHz keep: several channels, or content above 8 kHz."""

import numpy as np
from numpy.typing import NDArray

from narrows.media.audio.reader import AudioReader
from narrows.media.files import Source, stored

LIMIT = 8000.0  # Hz
MIN_SHARE = 1e-5  # of the energy, above the limit: 50 dB below all
WINDOW = 4096  # samples
PARTS, SECONDS = 6, 10  # number and length of the parts that are examined


def is_full_band(source: Source) -> bool:
    """Whether a recording has two channels or more, or more than 1e-5 of its energy above 8 kHz.

    Of a recording above a minute, six parts of ten seconds are examined, from its begin to its end.

    Raises:
        MediaError: if the file cannot be read.
    """
    path = stored(source)
    with AudioReader(path) as reader:
        channels, rate, samples = reader.channels, reader.sample_rate, reader.expected_samples
    if channels > 1 or rate <= 2 * LIMIT:
        return channels > 1
    first, size, energy = int(np.ceil(LIMIT * WINDOW / rate)), SECONDS * rate, np.zeros(WINDOW // 2 + 1)
    for part in range(PARTS):
        start = max(part * size, part * ((samples or 0) - size) // (PARTS - 1))
        if samples is not None and start >= samples:
            break
        with AudioReader(path) as reader:
            if start:
                reader.skip(start)
            x = reader.read(size)[0]
        if not x.size:  # only for a length that was not known
            break
        energy += _energy(x)
    energy[:2] = 0  # a constant offset
    return float(energy[first:].sum()) > MIN_SHARE * float(energy.sum())


def _energy(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Energy (WINDOW / 2 + 1,) of the bins of samples (n,), with Hann windows of which none is cut."""
    size = min(WINDOW, x.size)
    starts = np.append(np.arange(0, x.size - size, WINDOW // 2), x.size - size)
    frames = x[starts[:, None] + np.arange(size)] * np.hanning(size + 2)[1:-1]
    energy: NDArray[np.float64] = np.square(np.abs(np.fft.rfft(frames, WINDOW))).sum(0)
    return energy
