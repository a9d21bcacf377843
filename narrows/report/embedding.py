"""Embeds media in a page as data: URIs, within a byte budget.

samples ─▶ the first encoding with which all samples fit; otherwise the last encoding, and as many samples as fit
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import soundfile
import soxr
from PIL import Image as PILImage

from narrows.errors import InputError
from narrows.media.audio import Audio
from narrows.media.image import Image
from narrows.media.medium import Signal

BUDGET = 7_000_000  # bytes of data: URIs; the page stays below 8 MB
REFERENCE = "reference"
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)  # Hz
OPUS_CHANNELS, FLAC_CHANNELS = 2, 8
WEBP_MAX_SIDE = 16_383  # pixels

MediaEncoder = Callable[[Any], tuple[str, bytes]]  # takes a signal, returns its media type and bytes


@dataclass(frozen=True)
class MediaSample:
    """The media of one item for a page: the reference, and the decoded signals by name, which may be loaded lazily."""

    item: str
    reference: Signal
    decoded: Mapping[str, Signal]


@dataclass(frozen=True)
class EmbeddedItem:
    """A sample in the page.

    Args:
        name: Name of the item.
        medium: Name of the medium.
        versions: (name, data: URI) of the reference, then of each decoded signal.
    """

    name: str
    medium: str
    versions: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class EmbeddedMedia:
    """The samples that fit into the page.

    Args:
        items: Samples that fit.
        encoding: Description of their encoding.
        omitted: Names of the items that did not fit.
    """

    items: Sequence[EmbeddedItem]
    encoding: str
    omitted: Sequence[str]


def embed(
    samples: Sequence[MediaSample], encodings: Sequence[tuple[str, MediaEncoder]], budget: int = BUDGET
) -> EmbeddedMedia:
    """Encodes samples as data: URIs.

    Audio is 16-bit FLAC if all of it fits, else Opus at 64 or 40 kbit/s per channel. Images are lossless WebP: whole
    images if all fit, else centre crops of 512, 384 or 256 pixels per side. Of clips see video_encoding.py.

    Args:
        samples: Samples of one medium.
        encodings: Encoders with their descriptions, from the best to the smallest.
        budget: Maximum number of bytes of all URIs together.

    Returns:
        The first samples, as many as fit.

    Raises:
        InputError: The samples are of more than one medium.
    """
    media = {sample.reference.medium for sample in samples}
    if len(media) > 1:
        raise InputError(f"expected samples of one medium, got {' and '.join(sorted(media))}; write a report for each")
    embedded = EmbeddedMedia((), "", ())
    for encoding, encoder in encodings:
        items = _embed_while_fitting(samples, encoder, budget)
        embedded = EmbeddedMedia(items, encoding, [sample.item for sample in samples[len(items) :]])
        if not embedded.omitted:
            break
    return embedded


def _embed_while_fitting(samples: Sequence[MediaSample], encoder: MediaEncoder, budget: int) -> list[EmbeddedItem]:
    """Embeds the first samples, as many as fit into the budget."""
    items: list[EmbeddedItem] = []
    for sample in samples:
        item = _embed_item(sample, encoder)
        budget -= sum(len(uri) for _, uri in item.versions)
        if budget < 0:
            break
        items.append(item)
    return items


def _embed_item(sample: MediaSample, encoder: MediaEncoder) -> EmbeddedItem:
    versions = chain([(REFERENCE, sample.reference)], sample.decoded.items())  # one loaded at a time
    uris = [(name, _uri(*encoder(_trim(signal, sample.reference)))) for name, signal in versions]
    return EmbeddedItem(sample.item, sample.reference.medium, uris)


def _trim(signal: Signal, reference: Signal) -> Signal:
    """Removes the padding that a codec added at the end, right or bottom."""
    index: tuple[Any, ...] = (..., *(slice(size) for size in reference.extent.size))
    return signal.with_array(signal.array[index])


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def encode_flac(recording: Audio) -> tuple[str, bytes]:
    """Encodes 16-bit FLAC; only the first 8 channels, because FLAC has no more."""
    sink = io.BytesIO()
    soundfile.write(
        sink, _to_int16(recording.samples[:FLAC_CHANNELS]).T, recording.sample_rate, format="FLAC", subtype="PCM_16"
    )
    return "audio/flac", sink.getvalue()


def opus_encoder(bits: int) -> MediaEncoder:
    """Returns an encoder of Opus in WebM, which more browsers play than Ogg.

    The sample rate is the lowest of Opus that is not below the recording's, or 48 kHz. Only the first two channels are
    encoded.

    Args:
        bits: Bits per second per channel.
    """

    def encode(recording: Audio) -> tuple[str, bytes]:
        import av

        samples = recording.samples[:OPUS_CHANNELS]
        rate = next((rate for rate in OPUS_RATES if rate >= recording.sample_rate), OPUS_RATES[-1])
        if rate != recording.sample_rate:
            samples = soxr.resample(samples.T, recording.sample_rate, rate).T
        layout = "mono" if len(samples) == 1 else "stereo"
        sink = io.BytesIO()
        with av.open(sink, "w", format="webm", options={"fflags": "+bitexact"}) as file:
            stream = file.add_stream("libopus", rate=rate, layout=layout, options={"compression_level": "5"})
            stream.bit_rate = bits * len(samples)
            packed = _to_int16(samples).T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(packed), format="s16", layout=layout)
            frame.sample_rate = rate
            for packet in (*stream.encode(frame), *stream.encode(None)):
                file.mux(packet)
        return "audio/webm", sink.getvalue()

    return encode


def _to_int16(samples: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def webp_encoder(side: int | None) -> MediaEncoder:
    """Returns an encoder of lossless WebP, which crops the centre to `side` pixels per side; None: no crop."""

    def encode(image: Image) -> tuple[str, bytes]:
        pixels = image.pixels.transpose(1, 2, 0)
        for axis, size in enumerate(pixels.shape[:2]):
            limit = min(side or WEBP_MAX_SIDE, WEBP_MAX_SIDE)
            if size > limit:
                pixels = pixels.take(range((size - limit) // 2, (size - limit) // 2 + limit), axis)
        sink = io.BytesIO()
        # With quality=0 and method=0 encoding is 10 times as fast as by default, and files are 8 % larger.
        PILImage.fromarray(np.ascontiguousarray(pixels)).save(sink, "WEBP", lossless=True, quality=0, method=0)
        return "image/webp", sink.getvalue()

    return encode


LOSSY = "to keep the page small: a second lossy codec after the codec under test"
AUDIO_ENCODINGS: Sequence[tuple[str, MediaEncoder]] = (
    ("FLAC, 16 bits: lossless", encode_flac),
    (f"Opus at 64 kbit/s per channel, {LOSSY}", opus_encoder(64_000)),
    (f"Opus at 40 kbit/s per channel, {LOSSY}", opus_encoder(40_000)),
)
IMAGE_ENCODINGS: Sequence[tuple[str, MediaEncoder]] = (
    ("whole, as lossless WebP", webp_encoder(None)),
    ("centre crop of 512 × 512 pixels, as lossless WebP", webp_encoder(512)),
    ("centre crop of 384 × 384 pixels, as lossless WebP", webp_encoder(384)),
    ("centre crop of 256 × 256 pixels, as lossless WebP", webp_encoder(256)),
)
