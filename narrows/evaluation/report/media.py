"""Media inside a page, as data: URIs, within a budget of bytes.

samples ─▶ at the first fidelity at which all fit; at the last one, the first items as far as they fit
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import soundfile
import soxr
from PIL import Image

from narrows.errors import InputError
from narrows.evaluation.base import Picture, Sample, Signal, Sound

BUDGET = 7_000_000  # bytes of data: URIs; leaves a million of the page's eight for all else
REFERENCE = "reference"
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)  # Hz
OPUS_CHANNELS, FLAC_CHANNELS = 2, 8
WEBP_MOST = 16_383  # pixels a side

Encoder = Callable[[Any], tuple[str, bytes]]  # of a signal: media type, bytes


@dataclass(frozen=True)
class Item:
    """A sample as it stands in the page: data: URIs of the reference and of each point, in this order."""

    name: str
    is_sound: bool
    versions: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Embedded:
    """What fits. form: of the media, in words; left_out: items that did not fit."""

    items: Sequence[Item]
    form: str
    left_out: Sequence[str]


def embed(samples: Sequence[Sample], budget: int = BUDGET) -> Embedded:
    """The samples as data: URIs of at most `budget` bytes together.

    Sound is FLAC of 16 bits where all of it fits, else Opus at 64 or 40 kbit/s a channel. Pictures are lossless WebP:
    whole where all fit, else crops of their middle of 512, 384 or 256 pixels a side. Raises InputError for sounds and
    pictures in one report.
    """
    kinds = {type(signal) for sample in samples for signal in (sample.reference, *sample.decoded.values())}
    if len(kinds) > 1:
        raise InputError("samples of sound and of pictures were given; give a report those of one medium")
    fidelities = SOUND if kinds == {Sound} else PICTURES
    embedded = Embedded((), "", ())
    for form, encoder in fidelities:
        items = _fitting(samples, encoder, budget)
        embedded = Embedded(items, form, [sample.item for sample in samples[len(items) :]])
        if not embedded.left_out:
            break
    return embedded


def _fitting(samples: Sequence[Sample], encoder: Encoder, budget: int) -> list[Item]:
    """The first samples, up to the one that would exceed the budget."""
    items: list[Item] = []
    for sample in samples:
        item = _item(sample, encoder)
        budget -= sum(len(uri) for _, uri in item.versions)
        if budget < 0:
            break
        items.append(item)
    return items


def _item(sample: Sample, encoder: Encoder) -> Item:
    versions = [(REFERENCE, sample.reference), *sample.decoded.items()]
    uris = [(name, _uri(*encoder(_cut(signal, sample.reference)))) for name, signal in versions]
    return Item(sample.item, isinstance(sample.reference, Sound), uris)


def _cut(signal: Signal, reference: Signal) -> Signal:
    """Without what a codec added at the end, the right or the bottom."""
    if isinstance(signal, Sound) and isinstance(reference, Sound):
        return Sound(signal.samples[:, : reference.samples.shape[1]], signal.rate)
    assert isinstance(signal, Picture)
    assert isinstance(reference, Picture)
    height, width = reference.pixels.shape[:2]
    return Picture(signal.pixels[:height, :width])


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def flac(sound: Sound) -> tuple[str, bytes]:
    """16 bits; of the first eight channels, more it cannot hold."""
    sink = io.BytesIO()
    soundfile.write(sink, _integers(sound.samples[:FLAC_CHANNELS]).T, sound.rate, format="FLAC", subtype="PCM_16")
    return "audio/flac", sink.getvalue()


def opus(bits: int) -> Encoder:
    """In WebM, which browsers have played for longer than Ogg, at `bits` a second and channel.

    The sample rate is the next one that Opus takes, 48 kHz at most.
    """

    def encoded(sound: Sound) -> tuple[str, bytes]:
        samples = sound.samples[:OPUS_CHANNELS]
        rate = next((rate for rate in OPUS_RATES if rate >= sound.rate), OPUS_RATES[-1])
        if rate != sound.rate:
            samples = soxr.resample(samples.T, sound.rate, rate).T
        layout = "mono" if len(samples) == 1 else "stereo"
        sink = io.BytesIO()
        with av.open(sink, "w", format="webm", options={"fflags": "+bitexact"}) as file:
            stream = file.add_stream("libopus", rate=rate, layout=layout, options={"compression_level": "5"})
            stream.bit_rate = bits * len(samples)
            packed = _integers(samples).T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(packed), format="s16", layout=layout)
            frame.sample_rate = rate
            for packet in (*stream.encode(frame), *stream.encode(None)):
                file.mux(packet)
        return "audio/webm", sink.getvalue()

    return encoded


def _integers(samples: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def cropped(side: int | None) -> Encoder:
    """Lossless WebP of the middle, `side` pixels wide and high; None: of the whole."""

    def encoded(picture: Picture) -> tuple[str, bytes]:
        pixels = picture.pixels
        for axis, size in enumerate(pixels.shape[:2]):
            most = min(side or WEBP_MOST, WEBP_MOST)
            if size > most:
                pixels = pixels.take(range((size - most) // 2, (size - most) // 2 + most), axis)
        sink = io.BytesIO()
        Image.fromarray(pixels).save(sink, "WEBP", lossless=True, quality=0, method=0)  # ten times as fast, 8 % larger
        return "image/webp", sink.getvalue()

    return encoded


_TWICE = "so that the page stays small: a second codec after the one that is judged"
SOUND: Sequence[tuple[str, Encoder]] = (
    ("FLAC, 16 bits: what you hear is exactly what was decoded", flac),
    (f"Opus at 64 kbit/s a channel, {_TWICE}", opus(64_000)),
    (f"Opus at 40 kbit/s a channel, {_TWICE}", opus(40_000)),
)
PICTURES: Sequence[tuple[str, Encoder]] = (
    ("whole, as lossless WebP", cropped(None)),
    ("the middle 512 × 512 pixels, as lossless WebP", cropped(512)),
    ("the middle 384 × 384 pixels, as lossless WebP", cropped(384)),
    ("the middle 256 × 256 pixels, as lossless WebP", cropped(256)),
)
