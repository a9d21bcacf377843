import json
import sys

import pytest
import torch

import narrows
from narrows.checkpoints.families.source import Source
from narrows.errors import ModelError

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

SIZES = {"n_codebooks": 5, "codebook_size": 64, "codebook_dim": 8}


@pytest.fixture
def reference(randomise):
    """A small DacModel with random weights; its strides are those of 44.1 kHz, or of 16 and 24 kHz."""

    def made(strides=(2, 4, 8, 8), rate=44_100):
        config = transformers.DacConfig(
            encoder_hidden_size=4,
            downsampling_ratios=list(strides),
            decoder_hidden_size=32,
            upsampling_ratios=list(reversed(strides)),
            sampling_rate=rate,
            **SIZES,
        )
        return randomise(transformers.DacModel(config))

    return made


@torch.no_grad()
def compare(tokenizer, model, frames):
    stride = tokenizer.codec.stride[0]
    x = 0.3 * torch.randn(2, 1, frames * stride, generator=torch.Generator().manual_seed(1))
    z = model.encoder(x)
    assert (tokenizer.codec.analyze(x) - z).abs().max() <= 1e-5 * z.abs().max()
    codes = model.encode(x).audio_codes
    assert torch.equal(tokenizer.codec.encode(x), codes)
    for k in (1, codes.shape[1]):
        expected = model.decode(audio_codes=codes[:, :k]).audio_values
        decoded = tokenizer.codec.decode(codes[:, :k])[:, 0]
        assert decoded.shape == (2, frames * stride)
        assert (decoded[:, : expected.shape[1]] - expected).abs().max() <= 1e-5
        assert not decoded[:, expected.shape[1] :].any()
        assert 0.01 < expected.std() < 0.7
    return codes


@pytest.mark.parametrize(("strides", "rate"), [((2, 4, 8, 8), 44_100), ((2, 4, 5, 8), 24_000)])
def test_files_of_transformers(tmp_path, reference, strides, rate):
    model = reference(strides, rate)
    model.save_pretrained(tmp_path)
    tokenizer = narrows.load(tmp_path)
    assert (tokenizer.sample_rate, tokenizer.name) == (rate, "dac")
    for frames in (1, 27):
        compare(tokenizer, model, frames)


def test_any_length_equals_the_padded_one(tmp_path, reference):
    model = reference()
    model.save_pretrained(tmp_path)
    tokenizer = narrows.load(tmp_path)
    x = 0.3 * torch.randn(1, 1, 12_345)
    with torch.no_grad():
        expected = model.encode(torch.nn.functional.pad(x, (0, -12_345 % 512))).audio_codes
        decoded = model.decode(audio_codes=expected).audio_values
    tokens = tokenizer.encode(x[0], 44_100)
    assert torch.equal(tokens.codes, expected)
    assert (tokenizer.decode(tokens) - decoded[:, :12_345]).abs().max() <= 1e-5


def test_windows_and_batches_equal_the_whole(tmp_path, reference):
    reference().save_pretrained(tmp_path)
    tokenizer = narrows.load(tmp_path)
    assert tokenizer.codec.encoder.reach == ((8, 8),)
    assert tokenizer.codec.decoder.reach == ((10, 10),)
    signals = [0.3 * torch.randn(1, n) for n in (512 * 200, 512 * 90 + 7, 5000)]
    whole = [tokenizer.encode(x, 44_100) for x in signals]
    tokenizer.window_seconds = 0.9
    for x, tokens in zip(signals, whole, strict=True):
        windowed = tokenizer.encode(x, 44_100)
        assert torch.equal(windowed.codes, tokens.codes)
    tokenizer.batch = 4
    for batched, tokens in zip(tokenizer.encode_batch(signals, 44_100), whole, strict=True):
        assert torch.equal(batched.codes, tokens.codes)
    decoded = tokenizer.decode(whole[0])
    tokenizer.window_seconds = 10
    assert (decoded - tokenizer.decode(whole[0])).abs().max() <= 1e-5


@pytest.fixture
def file_of_authors(stub, randomise, tmp_path):
    """weights.pth as the package descript-audio-codec saves it, and its model."""
    stub("argbind", "audiotools", "audiotools.ml")

    class BaseModel(torch.nn.Module):
        INTERN, EXTERN = [], []

    sys.modules["audiotools.ml"].BaseModel = BaseModel
    sys.modules["audiotools"].AudioSignal = object
    pytest.importorskip("dac.model.dac")
    from dac.model.dac import DAC

    kwargs = {
        "encoder_dim": 4,
        "encoder_rates": [2, 4, 5, 8],
        "latent_dim": None,
        "decoder_dim": 32,
        "decoder_rates": [8, 5, 4, 2],
        "quantizer_dropout": 0.5,
        "sample_rate": 16_000,
        **SIZES,
    }
    model = randomise(DAC(**kwargs))
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": model.state_dict(), "metadata": {"kwargs": kwargs}}, path)
    return path, model


@torch.no_grad()
def test_files_of_the_authors(file_of_authors):
    path, model = file_of_authors
    tokenizer = narrows.load(path)
    assert (tokenizer.sample_rate, tokenizer.name) == (16_000, "dac")
    x = 0.3 * torch.randn(1, 1, 320 * 30)
    z, codes, *_ = model.encode(x)
    assert torch.equal(tokenizer.codec.encode(x), codes)
    expected = model.decode(z)
    decoded = tokenizer.codec.decode(codes)
    assert (decoded[..., : expected.shape[2]] - expected).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("name", "strides", "codebooks", "rate"),
    [
        ("dac-16khz", (2, 4, 5, 8), 12, 16_000),
        ("dac-24khz", (2, 4, 5, 8), 32, 24_000),
        ("dac-44khz", (2, 4, 8, 8), 9, 44_100),
    ],
)
def test_full_size(check_full_size, name, strides, codebooks, rate):
    config = transformers.DacConfig(
        downsampling_ratios=strides, upsampling_ratios=strides[::-1], n_codebooks=codebooks, sampling_rate=rate
    )
    with torch.device("meta"):
        model = transformers.DacModel(config)
    check_full_size(name, Source("model.safetensors", config.to_dict(), model.state_dict()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_codebooks": 6}, "expected the tensor bottleneck.stages.5"),
        ({"n_codebooks": 10**9}, "expected codebooks to be an integer from 1 to"),
        ({"encoder_hidden_size": 8}, "expected .* of shape"),
        ({"downsampling_ratios": "2"}, "expected a list of integers as downsampling_ratios"),
        ({"sampling_rate": None}, "expected an integer as sampling_rate"),
        ({"decoder_hidden_size": 3}, "expected a width that 4 stages can halve"),
        ({"model_type": "encodec"}, "."),
        ({"model_type": "bert"}, "expected a checkpoint of this library or of a family"),
    ],
)
def test_wrong_configs_are_one_line(tmp_path, reference, change, message):
    reference().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_commands(check_commands, reference, tmp_path):
    reference((2, 4, 5, 8), 16_000).save_pretrained(tmp_path / "dac")
    check_commands(tmp_path / "dac", train=True)
