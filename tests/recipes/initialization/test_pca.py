from pathlib import Path

import numpy as np
import pytest
import torch

from narrows.codecs import FSQ, Codec, FrameDecoder, FrameEncoder, ResidualVQ
from narrows.errors import InputError
from narrows.media import audio as media
from narrows.recipes.data.audio import AudioFiles
from narrows.recipes.initialization.pca import initialize_pca
from narrows.recipes.losses.frames import FrameMagnitudeLoss


@pytest.fixture
def files(tmp_path: Path) -> AudioFiles:
    rng = np.random.default_rng(0)
    coloured = np.convolve(rng.standard_normal(32_000), np.ones(8) / 8, "same")
    loudness = 1 + np.sin(np.arange(32_000) / 2000)
    media.write(tmp_path / "a.wav", (0.1 * coloured * loudness)[None].astype(np.float32), 16_000)
    return AudioFiles(tmp_path, 16_000)


def test_pca_lowers_the_loss_and_uses_all_codebooks(files: AudioFiles) -> None:
    torch.manual_seed(0)
    codec = Codec(
        FrameEncoder(12, 16, 1, hop=40), FSQ(12, (8, 5), 4), FrameDecoder(12, 16, 1, hop=40, iterations=1)
    ).eval()
    x = torch.from_numpy(files[0][:, :16_000])[None]
    before = FrameMagnitudeLoss()(codec.decoder, codec(x).quantized.latents, x).item()  # type: ignore[arg-type]
    initialize_pca(codec, files)
    quantized = codec(x).quantized
    after = FrameMagnitudeLoss()(codec.decoder, quantized.latents, x).item()  # type: ignore[arg-type]
    assert after < 0.7 * before
    assert all(len(codes.unique()) > 25 for codes in quantized.codes[0])  # of 40


def test_other_parts_are_rejected(files: AudioFiles) -> None:
    encoder, decoder = FrameEncoder(8, 16, 1, hop=40), FrameDecoder(8, 16, 1, hop=40)
    with pytest.raises(InputError, match=r"FrameEncoder, FSQ and FrameDecoder .* got FrameEncoder, ResidualVQ"):
        initialize_pca(Codec(encoder, ResidualVQ(8, 1, 16), decoder), files)
    with pytest.raises(InputError, match="at least 10 latent channels for 10 FSQ scalars, got 8"):
        initialize_pca(Codec(encoder, FSQ(8, (5, 5), 5), decoder), files)


@pytest.mark.parametrize("samples", [np.zeros((1, 32_000)), np.ones((1, 400)) * 0.1])
def test_silent_and_short_recordings_are_rejected(tmp_path: Path, samples: np.ndarray) -> None:
    media.write(tmp_path / "a.wav", samples.astype(np.float32), 16_000)
    codec = Codec(FrameEncoder(8, 16, 1, hop=40), FSQ(8, (5, 5), 4), FrameDecoder(8, 16, 1, hop=40))
    with pytest.raises(InputError, match="expected more than 8 frames of recordings that are not silent"):
        initialize_pca(codec, AudioFiles(tmp_path, 16_000))
