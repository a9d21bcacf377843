import base64
import gc
import io
import weakref
from collections.abc import Mapping
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile
from PIL import Image as PILImage

from narrows.errors import InputError
from narrows.media import video
from narrows.media.audio import Audio
from narrows.media.image import Image
from narrows.media.video import Video
from narrows.report.embedding import AUDIO_ENCODINGS, IMAGE_ENCODINGS, MediaSample, embed, opus_encoder, webp_encoder
from narrows.report.video_encoding import VIDEO_ENCODINGS


def data(uri):
    kind, encoded = uri.removeprefix("data:").split(";base64,")
    return kind, base64.b64decode(encoded)


def total(embedded):
    return sum(len(uri) for item in embedded.items for _, uri in item.versions)


def test_audio_that_fits_is_lossless(audio_samples):
    samples = audio_samples()
    embedded = embed(samples, AUDIO_ENCODINGS)
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
    embedded = embed(audio_samples(), AUDIO_ENCODINGS, budget)
    assert total(embedded) <= budget
    assert embedded.encoding.startswith(encoding)
    assert list(embedded.omitted) == ["1.wav", "2.wav"][2 - omitted :]


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (96_000, 3)])
def test_opus(rate, channels):
    tone = np.float32(0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate))
    kind, webm = opus_encoder(64_000)(Audio(np.tile(tone, (channels, 1)), rate))
    with av.open(io.BytesIO(webm)) as file:
        stream = file.streams.audio[0]
        decoded = np.concatenate([frame.to_ndarray() for frame in file.decode(stream)], axis=1)
        assert (kind, stream.codec_context.channels) == ("audio/webm", min(channels, 2))
    assert decoded.shape[1] == pytest.approx(48_000, abs=2000)
    assert np.abs(decoded[:, 5000:40000]).max() == pytest.approx(0.5, abs=0.05)


def test_padding_of_a_codec_is_removed():
    ramp = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(3, 20, 30)
    embedded = embed([MediaSample("a", Image(ramp[:, :16, :24]), {"b": Image(ramp)})], IMAGE_ENCODINGS)
    (_, reference), (_, decoded) = embedded.items[0].versions
    assert reference == decoded
    tone = np.zeros((1, 1000), np.float32)
    embedded = embed([MediaSample("a", Audio(tone[:, :900], 8000), {"b": Audio(tone, 8000)})], AUDIO_ENCODINGS)
    assert embedded.items[0].versions[0][1] == embedded.items[0].versions[1][1]


def test_images_are_lossless_and_cropped_to_the_budget(image_samples):
    samples = image_samples(300)
    whole, cut = embed(samples, IMAGE_ENCODINGS), embed(samples, IMAGE_ENCODINGS, 1_000_000)
    assert whole.encoding.startswith("whole")
    _, webp = data(whole.items[0].versions[0][1])
    assert np.array_equal(np.array(PILImage.open(io.BytesIO(webp))), samples[0].reference.pixels.transpose(1, 2, 0))
    assert cut.encoding.startswith("centre crop of 256")
    assert total(cut) <= 1_000_000
    assert len(embed(samples, IMAGE_ENCODINGS, 800_000).omitted) == 1


def test_centre_crop():
    pixels = np.arange(10 * 12 * 3, dtype=np.uint8).reshape(3, 10, 12)
    _, webp = webp_encoder(4)(Image(pixels))
    assert np.array_equal(np.array(PILImage.open(io.BytesIO(webp))), pixels[:, 3:7, 4:8].transpose(1, 2, 0))


def test_several_media_are_rejected(audio_samples, image_samples):
    with pytest.raises(InputError, match="one medium"):
        embed([*audio_samples(), *image_samples()], AUDIO_ENCODINGS)
    assert list(embed([], AUDIO_ENCODINGS).items) == []


def test_surplus_channels_are_dropped():
    many = Audio(np.random.default_rng(0).uniform(-0.5, 0.5, (10, 800)).astype(np.float32), 8000)
    embedded = embed([MediaSample("many", many, {"ours": many})], AUDIO_ENCODINGS)
    _, flac = data(embedded.items[0].versions[1][1])
    assert soundfile.info(io.BytesIO(flac)).channels == 8


def frames_of(uri):
    kind, mp4 = data(uri)
    assert kind == "video/mp4"
    return video.read(mp4)


def test_clips_are_the_first_seconds_at_their_rate(video_samples):
    samples = video_samples(100)
    embedded = embed(samples, VIDEO_ENCODINGS)
    assert embedded.encoding.startswith("H.264 (crf 16), up to 3 s")
    assert [name for name, _ in embedded.items[0].versions] == ["reference", "ours@4", "ours@7"]
    for (_, uri), signal in zip(
        embedded.items[1].versions, (samples[1].reference, *samples[1].decoded.values()), strict=True
    ):
        found = frames_of(uri)
        assert (found.pixels.shape, found.rate) == ((3, 75, 64, 96), 25)
        assert np.abs(found.pixels.astype(int) - signal.pixels[:, :75]).mean() < 2
    assert embed(samples, VIDEO_ENCODINGS) == embedded  # the same bytes


def test_clips_shrink_to_the_budget(video_samples):
    rng = np.random.default_rng(0)
    noise = Video(rng.integers(0, 256, (3, 60, 65, 97), np.uint8), Fraction(25))
    sizes = [len(encoder(noise)[1]) for _, encoder in VIDEO_ENCODINGS]
    assert sizes == sorted(sizes, reverse=True)
    budget = 3 * sizes[2]  # two clips take 4 / 3 of the bytes as text
    embedded = embed([MediaSample("a", noise, {"b": noise})], VIDEO_ENCODINGS, budget)
    assert "1.5 s" in embedded.encoding
    assert total(embedded) <= budget
    assert frames_of(embedded.items[0].versions[0][1]).pixels.shape == (3, 37, 66, 98)  # even sides
    large = Video(np.zeros((3, 4, 2048, 3072), np.uint8), Fraction(25))
    _, encoder = VIDEO_ENCODINGS[0]
    assert video.read(encoder(large)[1]).pixels.shape[1] == 3  # of 18 MiB


def test_decoded_signals_are_loaded_one_at_a_time(video_samples):
    """All of an item together may take gigabytes."""
    (sample, _) = video_samples(3)
    alive, most = weakref.WeakSet(), 0

    class Loaded(Mapping):
        def __getitem__(self, name):
            nonlocal most
            gc.collect()
            signal = Video(sample.decoded[name].pixels, Fraction(25))
            alive.add(signal)
            most = max(most, len(alive))
            return signal

        def __iter__(self):
            return iter(["ours@4", "ours@7"] * 4)

        def __len__(self):
            return 8

    embed([MediaSample("a", sample.reference, Loaded())], VIDEO_ENCODINGS)
    assert most <= 2
