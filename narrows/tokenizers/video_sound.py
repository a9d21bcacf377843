"""The sound track of a clip as an attachment of Tokens: when it begins, and the stream of an audio model.

varint(offset) stream          the offset from the first frame in samples: 2 n for n, 2 n - 1 for -n
"""

from fractions import Fraction
from typing import Protocol, cast

from narrows.bitstream import StreamHeader, read_header
from narrows.bitstream.varint import Cursor, to_varint
from narrows.errors import DamagedStream, InputError, ModelError
from narrows.media.audio import AudioInfo
from narrows.media.extents import AudioExtent
from narrows.media.files import StoredFile
from narrows.media.video import Sound
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.tokenizer import Tokenizer
from narrows.tokenizers.tokens import plain

MAX_OFFSET = 3600  # seconds between the first sample and the first frame


class AudioModels(Protocol):
    """The audio models that are to be had by name: those that ship, for a tokenizer from `narrows.load`."""

    def choose(self, source: StoredFile) -> str:
        """The name of the model for the sound in a file."""

    def load(self, name: str) -> Tokenizer | None:
        """The model with a name; None for an unknown one."""


def model_for_file(source: StoredFile, own: Tokenizer | None, models: AudioModels | None) -> AudioTokenizer:
    """The model that the sound of a file is coded with: the user's own, otherwise the one that `models` chooses.

    Raises InputError where there is none.
    """
    found = own if own is not None or models is None else models.load(models.choose(source))
    if found is None or found.medium.name != "audio":
        given = "none" if found is None else f"{found.name} of {found.medium.name}"
        raise InputError(
            f"expected an audio model for the sound, got {given}; set the attribute audio of the tokenizer, or leave "
            "the sound out with sound=False"
        )
    return cast(AudioTokenizer, found)


def model_for_stream(header: StreamHeader, own: Tokenizer | None, models: AudioModels | None) -> AudioTokenizer:
    """The model that decodes a stream of sound: the user's own if it made it, otherwise one of `models`.

    Raises ModelError where neither made it.
    """
    made_by = (header.model, header.fingerprint.hex())
    for found in (own, None if models is None else models.load(header.model)):
        if found is not None and (found.name, found.fingerprint) == made_by:
            return cast(AudioTokenizer, found)
    raise ModelError(
        f"expected the audio model {plain(made_by[0])} ({made_by[1]}), which made the sound, got "
        f"{'none' if own is None else f'{plain(own.name)} ({own.fingerprint})'}; give it with --audio-model (attribute "
        "audio in Python), or leave the sound out with --no-audio (sound=False)"
    )


def sound_attachment(sound: Sound, model: AudioTokenizer) -> bytes:
    """A sound as an attachment, coded block by block.

    Raises InputError for a sound that begins more than an hour beside the first frame, and what reading it raises.
    """
    if abs(sound.offset) > MAX_OFFSET * sound.sample_rate:
        seconds = sound.offset / sound.sample_rate
        raise InputError(
            f"expected sound that begins within {MAX_OFFSET} s of the first frame, got {seconds:.0f} s; leave it out "
            "with --no-audio (sound=False)"
        )
    tokens = model.encode_blocks(sound.blocks, None, sound.sample_rate)
    offset = 2 * sound.offset if sound.offset >= 0 else -2 * sound.offset - 1
    return to_varint(offset) + model.compress(tokens)


def sound_header(data: bytes) -> tuple[int, StreamHeader, bytes]:
    """The offset in samples, the header and the stream of an attachment. Raises DamagedStream for other bytes."""
    cursor = Cursor(memoryview(data))
    value = cursor.varint(2**48, "the offset of the sound")
    stream = data[cursor.position :]
    header, offset = read_header(stream), (value + 1) // 2 * (-1 if value % 2 else 1)
    extent = cast(AudioExtent, header.extent)
    if extent.medium != "audio" or abs(offset) > MAX_OFFSET * extent.sample_rate:
        raise DamagedStream(
            f"expected a stream of sound within {MAX_OFFSET} s of the first frame, got another; it is damaged"
        )
    return offset, header, stream


def sound_warnings(data: bytes, own: Tokenizer | None, models: AudioModels | None) -> list[str]:
    """Warnings about what the model of an attached sound does not preserve."""
    header = sound_header(data)[1]
    extent = cast(AudioExtent, header.extent)
    info = AudioInfo(extent.sample_rate, extent.channels, extent.samples, "", "")
    return [f"sound: {line}" for line in model_for_stream(header, own, models).warnings(info)]


def sound_of(
    data: bytes,
    own: Tokenizer | None,
    models: AudioModels | None,
    begin: Fraction | None = None,
    end: Fraction | None = None,
) -> Sound | None:
    """The sound of an attachment, decoded block by block as it is read; None where the part holds none.

    Args:
        data: the attachment.
        own, models: see `model_for_stream`.
        begin, end: seconds after the first frame, cut to the nearest samples; None for all that there is. The offset of
            the result is from `begin` on.

    Raises:
        ModelError: if the model is not to be had.
        StreamError: for damage.
    """
    offset, header, stream = sound_header(data)
    model, extent = model_for_stream(header, own, models), cast(AudioExtent, header.extent)
    rate = extent.sample_rate
    shift = 0 if begin is None else round(begin * rate)
    first = 0 if begin is None else max(0, shift - offset)
    last = extent.samples if end is None else min(extent.samples, round(end * rate) - offset)
    if first >= last:
        return None
    blocks = model.decode_blocks(model.decompress(stream), first / rate, last / rate)
    return Sound(blocks, rate, extent.channels, offset + first - shift)
