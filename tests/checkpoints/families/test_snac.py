import json

import pytest
import torch

import narrows
from narrows.checkpoints.families.source import Source, fold_weight_norm
from narrows.codecs.layers.noise import NoiseBlock
from narrows.errors import ModelError

snac = pytest.importorskip("snac")

PUBLISHED = {  # configs without what is the default of the package
    24_000: {
        "encoder_dim": 48,
        "encoder_rates": [2, 4, 8, 8],
        "decoder_dim": 1024,
        "decoder_rates": [8, 8, 4, 2],
        "attn_window_size": None,
        "vq_strides": [4, 2, 1],
    },
    **{
        rate: {
            "encoder_dim": 64,
            "encoder_rates": [2, 3, 8, 8],
            "decoder_dim": 1536,
            "decoder_rates": [8, 8, 3, 2],
            "attn_window_size": 32,
            "vq_strides": [8, 4, 2, 1],
        }
        for rate in (32_000, 44_100)
    },
}
SMALL = {"codebook_size": 64, "codebook_dim": 8, "noise": True, "depthwise": True}


def config_of(rate, **changes):
    small = {"encoder_dim": 4, "decoder_dim": 128} if rate > 24_000 else {"encoder_dim": 3, "decoder_dim": 32}
    return {"sampling_rate": rate, **PUBLISHED[rate], **SMALL, **small, **changes}


@pytest.fixture
def saved(tmp_path, randomise):
    """saved(rate) saves a small random model as its authors do; returns it and the folder."""

    def made(rate, **changes):
        config = config_of(rate, **changes)
        model = randomise(snac.SNAC(**config))
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        (tmp_path / "config.json").write_text(json.dumps(config))
        return model, tmp_path

    return made


def grouped(codes, steps, strides):
    """The authors' list of codes as codebooks."""
    return torch.cat([c.unflatten(1, (-1, steps // s)).movedim(1, 2) for c, s in zip(codes, strides, strict=True)], 1)


@pytest.fixture
def same_noise(monkeypatch):
    """The authors' noise blocks get the noise that ours draw."""
    drawn, noise = [], NoiseBlock.noise

    def recorded(self, x, seeds):
        drawn.append(noise(self, x, seeds))
        return drawn[-1]

    monkeypatch.setattr(NoiseBlock, "noise", recorded)
    monkeypatch.setattr("snac.layers.NoiseBlock.forward", lambda self, x: x + drawn.pop(0) * self.linear(x))
    return drawn


@pytest.mark.parametrize(("rate", "stride"), [(24_000, 2048), (44_100, 12_288)])
@torch.no_grad()
def test_files_of_the_authors(saved, same_noise, rate, stride):
    model, folder = saved(rate)
    tokenizer = narrows.load(folder)
    codec, steps = tokenizer.codec, stride // model.hop_length
    assert (tokenizer.name, tokenizer.sample_rate, codec.stride) == ("snac", rate, (stride,))
    for samples in (1, 3 * stride + 77, 4 * stride):
        x = 0.3 * torch.randn(2, 1, samples, generator=torch.Generator().manual_seed(1))
        padded = model.preprocess(x)
        z = model.encoder(padded)
        ours = codec.analyze(padded).unflatten(1, (-1, steps)).movedim(2, 3).flatten(2)
        assert (ours - z).abs().max() <= 1e-5 * z.abs().max()
        codes = model.encode(x)
        expected = grouped(codes, steps, model.vq_strides)
        assert torch.equal(codec.encode(padded), expected)
        tokens = tokenizer.encode(x[:, 0], rate)
        assert torch.equal(tokens.codes, expected)
        decoded = codec.decode(expected)
        audio = model.decode(codes)
        assert not same_noise
        assert 0.01 < audio.std() < 0.7
        assert (decoded - audio).abs().max() <= 1e-5
        again = tokenizer.decode(tokens)
        same_noise.clear()
        assert again.shape == (2, samples)
        assert (again - audio[:, 0, :samples]).abs().max() <= 1e-5


@pytest.mark.parametrize(("rate", "reach"), [(24_000, ((3, 3), (3, 3))), (44_100, ((2, 2), (2, 2)))])
def test_windows_and_batches_equal_the_whole(saved, rate, reach):
    _, folder = saved(rate)
    tokenizer = narrows.load(folder)
    assert (*tokenizer.codec.encoder.reach, *tokenizer.codec.decoder.reach) == reach
    stride = tokenizer.codec.stride[0]
    signals = [0.3 * torch.randn(1, n) for n in (stride * 20, stride * 11 + 7, 5000)]
    whole = [tokenizer.encode(x, rate) for x in signals]
    tokenizer.window_seconds = 0.1
    assert tokenizer.window < 13
    for x, tokens in zip(signals, whole, strict=True):
        assert torch.equal(tokenizer.encode(x, rate).codes, tokens.codes)
    tokenizer.batch = 4
    for batched, tokens in zip(tokenizer.encode_batch(signals, rate), whole, strict=True):
        assert torch.equal(batched.codes, tokens.codes)
    decoded = tokenizer.decode(whole[0])
    tokenizer.window_seconds = 1000
    assert (decoded - tokenizer.decode(whole[0])).abs().max() <= 1e-5


@pytest.mark.parametrize("rate", PUBLISHED)
def test_full_size(check_full_size, rate):
    config = {"sampling_rate": rate, "codebook_size": 4096, "codebook_dim": 8, "latent_dim": None, **PUBLISHED[rate]}
    with torch.device("meta"):
        tensors = fold_weight_norm(snac.SNAC(**config).state_dict(), "pytorch_model.bin")
    check_full_size(f"snac-{rate // 1000}khz", Source("pytorch_model.bin", config, tensors))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": False}, "expected noise to be true"),
        ({"depthwise": 1}, "expected depthwise to be true"),
        ({"attn_window_size": 8}, "expected attention over a multiple of 64 channels"),
        ({"attn_window_size": "8"}, "expected an integer as attn_window_size"),
        ({"attn_window_size": 10**9}, "expected attn_window_size to be an integer from 0 to 1024"),
        ({"vq_strides": [1021, 1019, 1013]}, "expected steps to be an integer from 1 to"),
        ({"vq_strides": [0]}, "expected vq_strides to be an integer from 1 to"),
        ({"vq_strides": [4, 2]}, "expected only tensors of the codec"),
        ({"encoder_dim": 0}, "expected width to be an integer from 1 to"),
        ({"decoder_dim": 24}, "expected a width that 4 stages can halve"),
        ({"decoder_rates": [8, 8, 4, 4]}, "expected one stride"),
    ],
)
def test_wrong_configs_are_one_line(saved, change, message):
    _, folder = saved(24_000)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(folder)
    assert "\n" not in str(caught.value)
