import numpy as np
import pytest
import soundfile
import torch

import narrows
from narrows.bitstream import FrequencyTables, PredictedTables
from narrows.codecs import Codec, FrameDecoder, FrameEncoder, Gaussian
from narrows.errors import InputError
from narrows.recipes.settings import Prediction
from narrows.recipes.training.fit_model import fit_tables
from narrows.tokenizers.audio import AudioTokenizer


@pytest.fixture
def sound(tmp_path):
    for index in range(3):
        time = np.arange(16_000) / 16_000
        soundfile.write(tmp_path / f"{index}.wav", 0.3 * np.sin(500 * (index + 1) * time), 16_000)
    return tmp_path


def test_audio(tiny_checkpoint, sound):
    tokenizer = narrows.load(tiny_checkpoint())
    tokenizer.tables = None
    raw = tokenizer.rate()
    fitted = fit_tables(tokenizer, sound)
    assert tokenizer.tables is None
    assert isinstance(fitted, FrequencyTables)
    tokenizer.tables = fitted
    assert tokenizer.rate() < raw
    tokens = tokenizer.encode_file(sound / "0.wav")
    assert torch.equal(tokenizer.decompress(tokenizer.compress(tokens)).codes, tokens.codes)
    assert isinstance(fit_tables(tokenizer, (sound,), Prediction(steps=2, width=4, dim=2)), PredictedTables)


def test_images_and_video(image_checkpoint, tiny_video, tmp_path):
    from narrows.recipes.data.synthetic import write_synthetic_images, write_synthetic_videos

    write_synthetic_images(tmp_path / "images")
    write_synthetic_videos(tmp_path / "video")
    for model, data in ((image_checkpoint, "images"), (tiny_video, "video")):
        tokenizer = narrows.load(model)
        tables = fit_tables(tokenizer, tmp_path / data)
        assert isinstance(tables, FrequencyTables)
        assert tables.sizes == tokenizer.codec.bottleneck.table_sizes
    with pytest.raises(InputError, match="expected a model of audio for networks"):
        fit_tables(tokenizer, tmp_path / "video", Prediction(steps=1))


def test_continuous_latents_are_refused(sound):
    codec = Codec(FrameEncoder(8, 16, 1), Gaussian(8), FrameDecoder(8, 16, 1))
    with pytest.raises(InputError, match="whose latents are continuous"):
        fit_tables(AudioTokenizer(codec, 16_000), sound)
