import base64
import io

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from narrows.errors import InputError
from narrows.evaluation.base import Picture, Sound
from narrows.evaluation.report import MediaSample
from narrows.evaluation.report.embedding import cropped, embed, opus


def data(uri):
    kind, encoded = uri.removeprefix("data:").split(";base64,")
    return kind, base64.b64decode(encoded)


def total(embedded):
    return sum(len(uri) for item in embedded.items for _, uri in item.versions)


def test_audio_that_fits_is_lossless(audio_samples):
    samples = audio_samples()
    embedded = embed(samples)
    assert embedded.encoding.startswith("FLAC")
    assert embedded.omitted == []
    assert [name for name, _ in embedded.items[0].versions] == ["reference", "ours@6", "ours@12"]
    kind, flac = data(embedded.items[1].versions[1][1])
    x, rate = soundfile.read(io.BytesIO(flac), dtype="float32")
    assert (kind, rate) == ("audio/flac", 16_000)
    assert np.abs(x - samples[1].decoded["ours@6"].samples[0]).max() <= 2**-16


@pytest.mark.parametrize(
    ("budget", "encoding", "omitted"),
    [(220_000, "Opus at 64", 0), (140_000, "Opus at 40", 0), (60_000, "Opus at 40", 2)],
)
def test_encoding_depends_on_the_budget(audio_samples, budget, encoding, omitted):
    embedded = embed(audio_samples(), budget)
    assert total(embedded) <= budget
    assert embedded.encoding.startswith(encoding)
    assert list(embedded.omitted) == ["1.wav", "2.wav"][2 - omitted :]


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (96_000, 3)])
def test_opus(rate, channels):
    tone = np.float32(0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate))
    kind, webm = opus(64_000)(Sound(np.tile(tone, (channels, 1)), rate))
    with av.open(io.BytesIO(webm)) as file:
        stream = file.streams.audio[0]
        decoded = np.concatenate([frame.to_ndarray() for frame in file.decode(stream)], axis=1)
        assert (kind, stream.codec_context.channels) == ("audio/webm", min(channels, 2))
    assert decoded.shape[1] == pytest.approx(48_000, abs=2000)
    assert np.abs(decoded[:, 5000:40000]).max() == pytest.approx(0.5, abs=0.05)


def test_padding_of_a_codec_is_removed():
    ramp = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    embedded = embed([MediaSample("a", Picture(ramp[:16, :24]), {"b": Picture(ramp)})])
    (_, reference), (_, decoded) = embedded.items[0].versions
    assert reference == decoded
    tone = np.zeros((1, 1000), np.float32)
    embedded = embed([MediaSample("a", Sound(tone[:, :900], 8000), {"b": Sound(tone, 8000)})])
    assert embedded.items[0].versions[0][1] == embedded.items[0].versions[1][1]


def test_images_are_lossless_and_cropped_to_the_budget(image_samples):
    samples = image_samples(300)
    whole, cut = embed(samples), embed(samples, 1_000_000)
    assert whole.encoding.startswith("whole")
    _, webp = data(whole.items[0].versions[0][1])
    assert np.array_equal(np.array(Image.open(io.BytesIO(webp))), samples[0].reference.pixels)
    assert cut.encoding.startswith("centre crop of 256")
    assert total(cut) <= 1_000_000
    assert len(embed(samples, 800_000).omitted) == 1


def test_centre_crop():
    pixels = np.arange(10 * 12 * 3, dtype=np.uint8).reshape(10, 12, 3)
    _, webp = cropped(4)(Picture(pixels))
    assert np.array_equal(np.array(Image.open(io.BytesIO(webp))), pixels[3:7, 4:8])


def test_several_media_are_rejected(audio_samples, image_samples):
    with pytest.raises(InputError, match="one medium"):
        embed([*audio_samples(), *image_samples()])
    assert embed([]).items == []


def test_surplus_channels_are_dropped():
    many = Sound(np.random.default_rng(0).uniform(-0.5, 0.5, (10, 800)).astype(np.float32), 8000)
    embedded = embed([MediaSample("many", many, {"ours": many})])
    _, flac = data(embedded.items[0].versions[1][1])
    assert soundfile.info(io.BytesIO(flac)).channels == 8
