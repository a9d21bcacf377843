from pathlib import Path

import numpy as np
import pytest
import torch

from narrows.codecs import FSQ, Codec, FrameDecoder, FrameEncoder, ResidualVQ
from narrows.errors import InputError
from narrows.media import audio as media
from narrows.recipes.data.audio import Recordings
from narrows.recipes.initialization.pca import start_linear
from narrows.recipes.losses.frames import FrameMagnitudes


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    draw = np.random.default_rng(0)
    colour = np.convolve(draw.standard_normal(32_000), np.ones(8) / 8, "same")
    loudness = 1 + np.sin(np.arange(32_000) / 2000)
    media.write(tmp_path / "a.wav", (0.1 * colour * loudness)[None].astype(np.float32), 16_000)
    return Recordings(tmp_path, 16_000)


def test_the_start_is_a_linear_codec_of_the_data(recordings: Recordings) -> None:
    torch.manual_seed(0)
    codec = Codec(FrameEncoder(12, 16, 1, hop=40), FSQ(12, (8, 5), 4), FrameDecoder(12, 16, 1, hop=40, rounds=1)).eval()
    x = torch.from_numpy(recordings[0][:16_000])[None, None]
    before = FrameMagnitudes()(codec.decoder, codec(x).quantized.latents, x).item()  # type: ignore[arg-type]
    start_linear(codec, recordings)
    quantized = codec(x).quantized
    after = FrameMagnitudes()(codec.decoder, quantized.latents, x).item()  # type: ignore[arg-type]
    assert after < 0.7 * before
    assert all(len(book.unique()) > 25 for book in quantized.codes[0])  # all codebooks are in use, of 40 codes each


def test_other_parts_are_refused(recordings: Recordings) -> None:
    encoder, decoder = FrameEncoder(8, 16, 1, hop=40), FrameDecoder(8, 16, 1, hop=40)
    with pytest.raises(InputError, match="needs a frame-encoder, an fsq"):
        start_linear(Codec(encoder, ResidualVQ(8, 1, 16), decoder), recordings)
    with pytest.raises(InputError, match="10 scalars given for 8 latent channels"):
        start_linear(Codec(encoder, FSQ(8, (5, 5), 5), decoder), recordings)


@pytest.mark.parametrize("samples", [np.zeros((1, 32_000)), np.ones((1, 400)) * 0.1])
def test_recordings_without_sound_are_refused(tmp_path: Path, samples: np.ndarray) -> None:
    media.write(tmp_path / "a.wav", samples.astype(np.float32), 16_000)
    codec = Codec(FrameEncoder(8, 16, 1, hop=40), FSQ(8, (5, 5), 4), FrameDecoder(8, 16, 1, hop=40))
    with pytest.raises(InputError, match="more than 8 wanted, with sound"):
        start_linear(codec, Recordings(tmp_path, 16_000))
