"""The order of channels: inside this library that of a WAV, in each format its own.

WAV, FLAC  left, right, centre, low frequencies, back left, back right, ...
Ogg        left, centre, right, back left, back right, ..., low frequencies
ALAC       centre, left, right, ...
"""

from collections.abc import Sequence

# The channels of a WAV, by FFmpeg's names of them.
_WAV = (
    *("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR"),
    *("TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR"),
)
# For each number of channels, the place of each channel of the WAV; left out where the order is the same.
# Sources: Vorbis I specification, section 4.3.9, which RFC 7845 takes over for Opus; Apple's ALAC.
_OGG = {3: [0, 2, 1], 5: [0, 2, 1, 3, 4], 6: [0, 2, 1, 5, 3, 4], 7: [0, 2, 1, 6, 5, 3, 4], 8: [0, 2, 1, 7, 5, 6, 3, 4]}
_ALAC = {
    3: [1, 2, 0],
    4: [1, 2, 0, 3],
    5: [1, 2, 0, 3, 4],
    6: [1, 2, 0, 5, 3, 4],
    7: [1, 2, 0, 6, 3, 4, 5],
    8: [3, 4, 0, 7, 5, 6, 1, 2],
}


def wav_order(codec: str, channels: int) -> list[int] | None:
    """The place in a file of each channel of a WAV, by libsndfile's name of the codec; None if both are equal."""
    orders = _OGG if codec in ("vorbis", "opus") else _ALAC if codec.startswith("alac") else {}
    return orders.get(channels)


def file_order(codec: str, channels: int) -> list[int] | None:
    """The place in a WAV of each channel of a file: the inverse of `wav_order`."""
    order = wav_order(codec, channels)
    return None if order is None else sorted(range(channels), key=order.__getitem__)


def wav_order_of_names(names: Sequence[str]) -> list[int] | None:
    """The place of each channel of a WAV among channels with FFmpeg's names; None if equal or unknown."""
    if len(set(names)) < len(names) or not set(names) <= set(_WAV):
        return None
    order = sorted(range(len(names)), key=lambda place: _WAV.index(names[place]))
    return None if order == list(range(len(names))) else order
