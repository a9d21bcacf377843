"""The beginnings of clips that a report shows, as the cache keeps them: nearly lossless MP4 files, a byte each number.

The pixels of all clips at all operating points would take gigabytes.
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from narrows.media import video
from narrows.media.medium import Signal
from narrows.media.video import Video
from narrows.report.video_encoding import MAX_BYTES, excerpt, mp4

SECONDS = 3.0
CRF = 8.0  # about 50 dB


def clip_excerpt(signal: Signal) -> Video:
    """The first 3 seconds of a clip, or fewer frames if their pixels take more than 64 MiB."""
    return excerpt(cast(Video, signal), SECONDS, MAX_BYTES)


def pack_clip(signal: Signal) -> NDArray[np.uint8]:
    """The excerpt of a clip as the bytes of an MP4 file."""
    return np.frombuffer(mp4(clip_excerpt(signal), CRF), np.uint8)


def unpack_clip(array: NDArray[np.generic], reference: Signal) -> Signal:
    """The excerpt of a clip, of the size of the excerpt of its reference. Raises MediaError for other bytes."""
    height, width = reference.array.shape[2:]
    pixels = video.read(array.tobytes()).pixels
    return reference.with_array(pixels[:, :, :height, :width])
