"""Chooses the library that decodes an audio file.

libsndfile gives the number of samples before decoding, FFmpeg reads more formats and knows what containers say about
times and channels.
"""

from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from narrows.errors import MediaError
from narrows.media.audio.declared_end import counted_samples, declared_end, missing, mpeg_format, ogg_pages
from narrows.media.audio.edit_lists import edit_lists
from narrows.media.audio.pyav_decoder import NoAudioError, PyavDecoder
from narrows.media.audio.soundfile_decoder import SoundfileDecoder
from narrows.media.audio.tags import after_tags, before_tags
from narrows.media.files import StoredFile, quoted, reason_of, size_of

ADVICE = "get the whole file again, or convert the part that is there with: ffmpeg -i FILE OTHER.wav"
_FORMATS = {
    b"OggS": "ogg",
    b"fLaC": "flac",
}  # FFmpeg's names by the first bytes; it does not find them after an APEv2 tag


class Decoder(Protocol):
    """SoundfileDecoder or PyavDecoder."""

    sample_rate: int
    channels: int
    samples: int | None
    expected_samples: int | None
    format: str
    codec: str
    late: float

    def read(self, samples: int) -> NDArray[np.float32]: ...

    def skip(self, samples: int) -> None: ...

    def close(self) -> None: ...


def open_decoder(file: BinaryIO, path: StoredFile, *, cut: bool = False) -> Decoder:
    """A decoder for an open file; `cut`: whether it may end before its declared end.

    Raises:
        MediaError: if there is no decoder, and for a file that ends before its declared end and may not.
    """
    name, size, start = quoted(path), size_of(file), after_tags(file)
    end = before_tags(file, start, size)
    declared = declared_end(file, end, start)
    if declared is not None and end < declared <= size:
        end = size  # what looks like a tag is audio
    if (lost := missing(file, end, declared)) and not cut:
        raise MediaError(f"{name} is cut: expected {lost[0]} bytes by its header, got {lost[1]}; {ADVICE}")
    # All of this is read before libsndfile opens the file, which shares its position.
    mpeg, ogg = mpeg_format(file, start), ogg_pages(file, start)
    counted = _counted_samples(file, size, start, declared) if mpeg == "mp3" else None
    edits = edit_lists(file, start, end)
    # libsndfile takes an MP3 without a Xing header for shorter than it is, and prints messages about a damaged one; of
    # several Ogg streams it reads only the first.
    sound, refusal = None, ""
    if mpeg is None and ogg.streams < 2:
        try:
            sound = SoundfileDecoder(file, start, end)
        except Exception as error:
            refusal = f"libsndfile: {reason_of(error)!r}, "
    if sound is not None and "mpeg" in sound.codec:
        sound.close()
        sound = None
    # A writer to a pipe may leave a length of 0; it is only believed if the rest of the header agrees.
    doubtful = sound is not None and sound.samples == 0 and declared is None
    # An Ogg of one page may be shorter than its page: FFmpeg takes that for samples before the time 0.
    if sound is not None and not doubtful and (sound.alone or (ogg.streams and ogg.timed < 2)):
        return sound
    try:
        part = None if (start, end) == (0, size) else (start, end)
        decoder = PyavDecoder(path, format=mpeg, part=part, samples=counted, edits=edits)
    except NoAudioError as error:
        raise MediaError(f"{name} has no audio track; give an audio file, or a video with audio") from error
    except Exception as error:
        if doubtful:
            raise MediaError(no_samples_error(name)) from error
        if sound is not None:
            return sound
        raise MediaError(
            f"expected audio (WAV, FLAC, Ogg, Opus, MP3, AIFF, M4A, or a video with audio), got {name}, "
            f"which cannot be decoded ({refusal}FFmpeg: {reason_of(error)!r}); give another file"
        ) from error
    chosen, other = (decoder, sound) if sound is None or doubtful or decoder.needed else (sound, decoder)
    if other is not None:
        other.close()
    return chosen


def no_samples_error(name: str) -> str:
    """The error message for a file without samples."""
    return f"expected a file of one sample or more, got {name}, which holds no samples; give another file"


def _counted_samples(file: BinaryIO, size: int, start: int, end: int | None) -> int | None:
    """The samples of an MP3 by its Xing header, unless another was appended or most of the file is something else."""
    if end is None or mpeg_format(file, end) is not None or size - end > size // 32:
        return None
    return counted_samples(file, start)
