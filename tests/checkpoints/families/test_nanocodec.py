import io
import logging
import sys
import tarfile
from importlib import import_module
from importlib.util import find_spec

import pytest
import torch
import yaml
from safetensors.torch import save_file

import narrows
from narrows.checkpoints.families.source import Source, fold_weight_norm
from narrows.errors import ModelError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
RATE, STRIDE = 22_050, 2 * 3 * 7
LEVELS, GROUPS = [9, 8, 8, 7], 2


@pytest.fixture
def nemo(stub):
    """The module of NeMo with its networks; of the rest of NeMo, only small helpers are imported."""
    if (spec := find_spec("nemo")) is None:
        pytest.skip("could not import nemo")
    (root,) = spec.submodule_search_locations
    packages = [
        *("nemo", "nemo.collections", "nemo.collections.tts", "nemo.collections.tts.modules"),
        *("nemo.collections.common", "nemo.collections.common.parts"),
    ]
    rest = ["asr", "asr.modules", "audio", "audio.parts", "audio.parts.utils", "audio.parts.utils.transforms"]
    core = ["classes", "classes.common", "classes.module", "neural_types", "neural_types.elements"]
    core.append("neural_types.neural_type")
    stub(
        *packages, *(f"nemo.collections.{name}" for name in rest), "nemo.core", *(f"nemo.core.{name}" for name in core)
    )
    stub("nemo.utils")
    for name in packages[3:]:
        sys.modules[name].__path__ = [f"{root}/{name.removeprefix('nemo.').replace('.', '/')}"]
    sys.modules["nemo.utils"].logging = logging.getLogger("nemo")
    sys.modules["nemo.core.classes.module"].NeuralModule = torch.nn.Module
    sys.modules["nemo.core.classes.common"].typecheck = lambda *args, **kwargs: lambda function: function
    yield import_module("nemo.collections.tts.modules.audio_codec_modules")
    for name in ("common.parts.utils", "tts.modules.audio_codec_modules"):
        sys.modules.pop(f"nemo.collections.{name}", None)


def networks(nemo, width=6, widest=48, strides=(2, 3, 7), levels=LEVELS, groups=GROUPS):
    dim = len(levels) * groups
    with torch.device("cpu"):
        quantizer = nemo.GroupFiniteScalarQuantizer(groups, list(levels))
    encoder = nemo.HiFiGANEncoder(dim, strides, width, activation="lrelu", pad_mode="replicate")
    decoder = nemo.CausalHiFiGANDecoder(
        dim, strides[::-1], widest, activation="half_snake", output_activation="clamp", pad_mode="zeros"
    )
    return encoder, quantizer, decoder


CONFIG = {
    "sample_rate": RATE,
    "audio_encoder": {"activation": "lrelu", "pad_mode": "replicate"},
    "audio_decoder": {"activation": "half_snake", "output_activation": "clamp"},
}


def named(encoder, quantizer, decoder):
    """The tensors under the names of NeMo's whole model."""
    parts = {"audio_encoder": encoder, "vector_quantizer": quantizer, "audio_decoder": decoder}
    return {f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()}


def archive(path, tensors, config=CONFIG, **others):
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    files = {"./model_weights.ckpt": buffer.getvalue(), "./model_config.yaml": yaml.dump(config).encode(), **others}
    with tarfile.open(path, "w:") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def reference(nemo, randomise, tmp_path):
    """Small random networks of NeMo, and their file."""
    made = networks(nemo)
    for seed, module in enumerate(made):
        randomise(module, seed)
    with torch.no_grad():
        for name, parameter in made[0].named_parameters():  # so that codes differ
            if name.endswith("original0"):
                parameter.mul_(8 if name.startswith("post") else 2)
        for name, parameter in made[2].named_parameters():
            if name.endswith("original0"):
                parameter.mul_(2)
    tensors = named(*made) | {"discriminator.a": torch.ones(2)}
    archive(tmp_path / "nano.nemo", tensors, other=b"text")
    return made, tmp_path / "nano.nemo"


@torch.no_grad()
def compare(tokenizer, encoder, quantizer, decoder, samples):
    x = 0.3 * torch.randn(2, samples, generator=torch.Generator().manual_seed(1))
    padded = torch.nn.functional.pad(x, (0, -samples % STRIDE))
    z, length = encoder(audio=padded, audio_len=torch.tensor([padded.shape[1]] * 2))
    assert (tokenizer.codec.analyze(padded[:, None]) - z).abs().max() <= 1e-5 * z.abs().max()
    codes = quantizer.encode(inputs=z, input_len=length).transpose(0, 1)
    assert codes.unique().numel() > 30
    tokens = tokenizer.encode(x, RATE)
    assert torch.equal(tokens.codes, codes)
    latents = quantizer.decode(indices=codes.transpose(0, 1), input_len=length)
    assert torch.equal(tokenizer.codec.bottleneck.decode(codes), latents)
    audio, _ = decoder(inputs=latents, input_len=length)
    assert 0.01 < audio.std() < 0.9
    decoded = tokenizer.decode(tokens)
    assert decoded.shape == x.shape
    assert (decoded - audio[:, :samples]).abs().max() <= 1e-5


def test_files_of_nemo(reference):
    made, path = reference
    tokenizer = narrows.load(path)
    assert (tokenizer.sample_rate, tokenizer.codec.stride) == (RATE, (STRIDE,))
    assert tokenizer.codec.bottleneck.codebook_sizes == (4032,) * GROUPS
    for samples in (STRIDE * 40, STRIDE * 61 + 5):
        compare(tokenizer, *made, samples)


def test_safetensors(reference, tmp_path):
    made, _ = reference
    (tmp_path / "st").mkdir()
    save_file(fold_weight_norm(named(*made), "x"), tmp_path / "st" / "model.safetensors")
    compare(narrows.load(tmp_path / "st"), *made, STRIDE * 20 + 3)


def test_windows_and_batches_equal_the_whole(reference):
    _, path = reference
    tokenizer = narrows.load(path)
    assert tokenizer.codec.decoder.reach[0][1] == 0
    signals = [0.3 * torch.randn(1, n) for n in (STRIDE * 300, STRIDE * 130 + 7, 500)]
    whole = [tokenizer.encode(x, RATE) for x in signals]
    tokenizer.window_seconds = 0.05
    assert tokenizer.window < 250
    for x, tokens in zip(signals, whole, strict=True):
        assert torch.equal(tokenizer.encode(x, RATE).codes, tokens.codes)
    tokenizer.batch = 4
    for batched, tokens in zip(tokenizer.encode_batch(signals, RATE), whole, strict=True):
        assert torch.equal(batched.codes, tokens.codes)
    decoded = tokenizer.decode(whole[0])
    tokenizer.window_seconds = 100
    assert (decoded - tokenizer.decode(whole[0])).abs().max() <= 1e-5


def test_full_size(nemo, check_full_size):
    """The model of 0.6 kbit/s, whose config is known."""
    with torch.device("meta"):
        tensors = fold_weight_norm(named(*networks(nemo, 24, 864, (2, 3, 6, 7, 7), LEVELS, 4)), "x")
    check_full_size("nanocodec-0.6kbps", Source("nano.nemo", {"sample_rate": RATE}, tensors))


@pytest.mark.parametrize(
    ("name", "option", "value", "message"),
    [
        ("audio_encoder", "pad_mode", "reflect", "expected pad_mode replicate of audio_encoder"),
        ("audio_decoder", "activation", "snake", "expected activation half_snake of audio_decoder"),
        ("audio_decoder", "output_activation", "tanh", "expected output_activation clamp"),
    ],
)
def test_other_networks_are_refused(reference, name, option, value, message):
    made, path = reference
    archive(path, named(*made), CONFIG | {name: CONFIG[name] | {option: value}})
    with pytest.raises(ModelError, match=message):
        narrows.load(path)
