"""The sound track of a video file, and when it begins."""

from collections.abc import Iterator, Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from narrows.media.audio.edit_lists import EditList
from narrows.media.audio.reader import AudioReader
from narrows.media.files import StoredFile
from narrows.media.video.decoder import MP4, fraction_of, opened
from narrows.media.video.signal import Sound

_BLOCK = 1 << 14  # samples


def sound_of(path: StoredFile, edits: Mapping[int, EditList], start: Fraction, *, cut: bool = False) -> Sound:
    """The first sound track of a file that has one.

    Args:
        path: the file.
        edits: the edit lists of an MP4, by track.
        start: time of the first frame in seconds, on the clock of the file.
        cut: whether the file may end before the end that its header declares.

    Raises:
        MediaError: as AudioReader does.
    """
    with AudioReader(path, cut=cut) as reader:
        rate, channels = reader.sample_rate, reader.channels
    offset = round((_begin(path, edits) - start) * rate)
    return Sound(_Blocks(path, cut), rate, channels, offset)


class _Blocks:
    """The blocks of the sound track of a file; each iteration reads it from the begin."""

    def __init__(self, path: StoredFile, cut: bool) -> None:
        self._path, self._cut = path, cut

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        with AudioReader(self._path, cut=self._cut) as reader:
            yield from reader.blocks(_BLOCK)


def _begin(path: StoredFile, edits: Mapping[int, EditList]) -> Fraction:
    """The time of the first sample that AudioReader gives, in seconds on the clock of the file.

    In an MP4 it follows from the edit list, which FFmpeg rounds. Elsewhere FFmpeg adds the priming that it skips to the
    time of the first frame; where the time stamps are milliseconds, the result is a multiple of them.
    """
    with opened(path) as container:
        stream = container.streams.audio[0]
        base = fraction_of(stream.time_base) or Fraction(0)
        if container.format.name == MP4 and (edit_list := edits.get(stream.id)):
            return edit_list.delay
        first = next(iter(container.decode(stream)), None)
        return (first.pts or 0) * base if first else Fraction(0)


def aligned(sound: Sound) -> Iterator[NDArray[np.float32]]:
    """The blocks of a sound track from the time of the first frame on: silence is added, or samples are left out."""
    skip = max(0, -sound.offset)
    if sound.offset > 0:
        yield np.zeros((sound.channels, sound.offset), np.float32)
    for block in sound.blocks:
        if block.shape[1] > skip:
            yield block[:, skip:]
        skip = max(0, skip - block.shape[1])
