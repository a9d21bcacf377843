import json
import sys
from importlib import import_module
from importlib.util import find_spec

import pytest
import torch

import narrows
from narrows.checkpoints.families.source import Source, fold_weight_norm
from narrows.errors import ModelError

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

STRIDES, MULTIPLES = [2, 4, 4, 8], [1, 2, 4, 4]
RATE = 44_100


@pytest.fixture
def reference(randomise):
    """reference(channels) is a small random AutoencoderOobleck of diffusers."""

    def made(channels=2, strides=STRIDES):
        return randomise(
            diffusers.AutoencoderOobleck(
                encoder_hidden_size=8,
                downsampling_ratios=strides,
                channel_multiples=MULTIPLES,
                decoder_channels=6,
                decoder_input_channels=4,
                audio_channels=channels,
            )
        )

    return made


@torch.no_grad()
def compare(tokenizer, encode, decode, samples, channels):
    """The tokenizer against the authors' encoder, to means and scales, and their decoder, of the means."""
    stride = tokenizer.codec.stride[0]
    x = 0.3 * torch.randn(channels, samples, generator=torch.Generator().manual_seed(1))
    padded = torch.nn.functional.pad(x, (0, -samples % stride))[None]
    z = encode(padded)
    assert (tokenizer.codec.analyze(padded) - z).abs().max() <= 1e-5 * z.abs().max()
    mean = z.chunk(2, 1)[0]
    latents = tokenizer.encode_latents(x, RATE)
    assert (latents.values - mean).abs().max() <= 1e-5 * mean.abs().max()
    expected = decode(mean)[0]
    assert 0.01 < expected.std() < 10
    decoded = tokenizer.decode_latents(latents)
    assert decoded.shape == x.shape
    expected = torch.nn.functional.pad(expected, (0, padded.shape[2] - expected.shape[1]))  # odd strides
    assert (decoded - expected[:, :samples]).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(("channels", "strides"), [(2, STRIDES), (1, STRIDES), (2, [2, 3, 5, 8])])
def test_files_of_diffusers(tmp_path, reference, channels, strides):
    model = reference(channels, strides)
    model.save_pretrained(tmp_path)
    tokenizer = narrows.load(tmp_path)
    assert (tokenizer.name, tokenizer.sample_rate) == ("oobleck", RATE)
    assert tokenizer.codec.channels == channels
    for samples in (256, 5000):
        compare(tokenizer, model.encoder, model.decoder, samples, channels)


def test_training_samples_as_diffusers_does(tmp_path, reference):
    model = reference()
    model.save_pretrained(tmp_path)
    bottleneck = narrows.load(tmp_path).codec.bottleneck
    z = torch.randn(3, 8, 50)
    expected = model.encode(torch.randn(1, 2, 256)).latent_dist.__class__(z)
    torch.testing.assert_close(bottleneck._log_variance(z.movedim(1, -1)).movedim(-1, 1), expected.logvar)
    kl = bottleneck.train()(z).losses["kl"]
    torch.testing.assert_close(2 * kl, expected.kl())  # theirs is without the factor 1/2


def test_windows_and_batches_equal_the_whole(tmp_path, reference):
    reference().save_pretrained(tmp_path)
    tokenizer = narrows.load(tmp_path)
    assert (tokenizer.codec.encoder.reach, tokenizer.codec.decoder.reach) == (((9, 9),), ((11, 11),))
    x = 0.3 * torch.randn(2, 256 * 100 + 7)
    whole = tokenizer.encode_latents(x, RATE)
    decoded = tokenizer.decode_latents(whole)
    tokenizer.window_seconds = 0.1
    windowed = tokenizer.encode_latents(x, RATE)
    assert (windowed.values - whole.values).abs().max() <= 1e-5 * whole.values.abs().max()
    assert (tokenizer.decode_latents(whole) - decoded).abs().max() <= 1e-5 * decoded.abs().max()


def config_of_authors(pretransform, channels=2):
    shared = {"c_mults": MULTIPLES, "strides": STRIDES, "use_snake": True}
    autoencoder = {
        "encoder": {"type": "oobleck", "config": {"in_channels": channels, "channels": 8, "latent_dim": 8, **shared}},
        "decoder": {
            "type": "oobleck",
            "config": {"out_channels": channels, "channels": 6, "latent_dim": 4, "final_tanh": False, **shared},
        },
        "bottleneck": {"type": "vae"},
        "latent_dim": 4,
        "downsampling_ratio": 256,
        "io_channels": channels,
    }
    model = {"pretransform": {"type": "autoencoder", "config": autoencoder}} if pretransform else autoencoder
    return {"model_type": "diffusion_cond" if pretransform else "autoencoder", "sample_rate": RATE, "model": model}


@pytest.fixture
def authors(stub, randomise):
    """Encoder and decoder of the package stable-audio-tools, small and random."""
    package = "stable_audio_tools"
    if (spec := find_spec(package)) is None:
        pytest.skip("could not import stable_audio_tools")
    unused = ("inference", "inference.sampling", "inference.utils", "models")
    unused += tuple(f"models.{name}" for name in ("bottleneck", "diffusion", "factory", "pretransforms", "transformer"))
    stub("alias_free_torch", package, *(f"{package}.{name}" for name in unused))
    sys.modules[f"{package}.models"].__path__ = [f"{spec.submodule_search_locations[0]}/models"]
    networks = import_module(f"{package}.models.autoencoders")
    config = config_of_authors(False)["model"]
    yield [
        randomise(made(**config[side]["config"]))
        for side, made in (("encoder", networks.OobleckEncoder), ("decoder", networks.OobleckDecoder))
    ]
    for name in ("autoencoders", "blocks"):
        sys.modules.pop(f"{package}.models.{name}", None)


@pytest.mark.parametrize(
    ("prefix", "rest"),
    [
        (
            "pretransform.model.",
            {"model.model.timestep_features.weight": torch.zeros(2), "conditioner.a": torch.ones(1)},
        ),
        ("autoencoder.", {"discriminator.a": torch.ones(1), "autoencoder_ema.a": torch.ones(1)}),
        ("", {}),
    ],
)
def test_files_of_the_authors(tmp_path, authors, prefix, rest):
    encoder, decoder = authors
    tensors = {f"{prefix}encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    tensors |= {f"{prefix}decoder.{name}": tensor for name, tensor in decoder.state_dict().items()}
    torch.save({"state_dict": tensors | rest}, tmp_path / "model.ckpt")
    config = config_of_authors(prefix.startswith("pre"))
    (tmp_path / "model_config.json").write_text(json.dumps(config))
    tokenizer = narrows.load(tmp_path)
    assert (tokenizer.name, tokenizer.sample_rate, tokenizer.codec.channels) == ("oobleck", RATE, 2)
    for samples in (256, 5000):
        compare(tokenizer, encoder, decoder, samples, 2)


def test_full_size(check_full_size):
    with torch.device("meta"):
        model = diffusers.AutoencoderOobleck()
        tensors = fold_weight_norm(model.state_dict(), "model.safetensors")
    config = {**model.config, "_class_name": "AutoencoderOobleck"}
    check_full_size("stable-audio-vae", Source("model.safetensors", config, tensors))


def changed(config, path, value):
    *folders, last = path
    inner = config
    for name in folders:
        inner = inner[name]
    inner[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("model", "bottleneck"), {"type": "tanh"}, "expected a bottleneck of type vae"),
        (("model", "encoder", "type"), "dac", "expected the type oobleck of the encoder"),
        (("model", "decoder", "config", "final_tanh"), True, "expected final_tanh of the decoder"),
        (("model", "encoder", "config", "use_snake"), False, "expected use_snake of the encoder"),
        (("model", "encoder", "config", "strides"), [2, 4], "expected at most 12 strides and as many multiples"),
        (("model", "encoder", "config", "latent_dim"), 6, "expected latent_dim 8 of the encoder"),
        (("model", "decoder", "config", "channels"), 10**9, "expected width to be an integer from 1 to"),
        (("model", "decoder"), 3, "expected a dictionary as decoder"),
        (("sample_rate",), "x", "expected an integer as sample_rate"),
    ],
)
def test_wrong_configs_are_one_line(tmp_path, authors, path, value, message):
    tensors = {f"encoder.{name}": tensor for name, tensor in authors[0].state_dict().items()}
    torch.save({"state_dict": tensors}, tmp_path / "model.ckpt")
    (tmp_path / "model_config.json").write_text(json.dumps(changed(config_of_authors(False), path, value)))
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(tmp_path)
    assert "\n" not in str(caught.value)
