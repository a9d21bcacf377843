import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch

import narrows
from narrows.checkpoints.assemble import expected_shapes
from narrows.checkpoints.families.s3 import FAMILY
from narrows.checkpoints.families.source import Source
from narrows.errors import InputError, ModelError

NAMES = {  # of the package's models, and of ours
    "speech_tokenizer_v1": "s3-v1-50hz",
    "speech_tokenizer_v1_25hz": "s3-v1-25hz",
    "speech_tokenizer_v2_25hz": "s3-v2-25hz",
    "speech_tokenizer_v3_25hz": "s3-v3-25hz",
}


def made(name, **sizes):
    """A model of the package `s3tokenizer`."""
    from s3tokenizer import model, model_v2, model_v3

    if "v1" in name:
        return model.S3Tokenizer(name, model.ModelConfig(**sizes))
    if "v2" in name:
        return model_v2.S3TokenizerV2(name, model_v2.ModelConfig(**sizes))
    return model_v3.S3TokenizerV3(name, model_v3.ModelConfigV3(**sizes))


@pytest.fixture
def package(stub):
    stub("onnx")
    sys.modules["onnx"].__spec__ = ModuleSpec("onnx", None)  # torch asks for it
    pytest.importorskip("einops")
    return pytest.importorskip("s3tokenizer")


@pytest.fixture(params=NAMES)
def reference(request, package, randomise, tmp_path):
    """A small model of the package, and its file in tmp_path."""
    depth = 12 if "v3" in request.param else 2
    model = randomise(made(request.param, n_audio_state=128, n_audio_head=2, n_audio_layer=depth))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(2 if depth == 2 else 1.2)
        if "v1" in request.param:
            embed = model.quantizer._codebook.embed
            embed.copy_(0.1 * torch.randn(embed.shape, generator=torch.Generator().manual_seed(1)))
        else:
            model.quantizer._codebook.project_down.weight.mul_(8)
    path = tmp_path / f"{request.param}.pt"
    torch.save(model.state_dict(), path)
    return path, model


@torch.inference_mode()
def test_files_of_the_package(package, reference):
    path, model = reference
    tokenizer = narrows.load(path)
    assert (tokenizer.name, tokenizer.sample_rate) == (NAMES[path.stem], 16_000)
    assert tokenizer.frame_rate == (50 if path.stem == "speech_tokenizer_v1" else 25)
    for frames in (300, 37, 1, 3001):  # the last one in windows
        samples = frames * 160
        x = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(frames)) * torch.linspace(0, 1, samples)
        if frames == 1:
            x = torch.cat([x, torch.zeros(160)])  # the package needs two frames
        mels = package.log_mel_spectrogram(x)[None]
        assert (tokenizer.codec.encoder.mel(x[None]) - mels).abs().max() <= 1e-5
        codes, _ = model.quantize(mels, torch.tensor([mels.shape[2]]))
        assert torch.equal(tokenizer.codec.encode(x[None, None])[:, 0], codes)
        assert torch.equal(tokenizer.encode(x, 16_000).codes[:, 0], codes)
        if frames <= 3000:
            hidden, _ = model.encoder(mels, torch.tensor([mels.shape[2]]))
            if "v1" in path.stem:
                hidden = torch.nn.functional.normalize(hidden, dim=2)
            else:
                hidden = model.quantizer._codebook.project_down(hidden)
            latents = tokenizer.codec.analyze(x[None, None]).transpose(1, 2)
            assert (latents - hidden).abs().max() <= 1e-5 * hidden.abs().max()
    assert len(codes.unique()) > 5


def test_any_length(reference):
    tokenizer = narrows.load(reference[0])
    stride = tokenizer.codec.stride[0]
    signals = [0.1 * torch.randn(1, samples) for samples in (5000, 1234, 640, 5)]
    single = [tokenizer.encode(x, 16_000) for x in signals]
    tokenizer.batch = 4
    for x, one, other in zip(signals, single, tokenizer.encode_batch(signals, 16_000), strict=True):
        assert one.codes.shape == (1, 1, -(-x.shape[1] // stride))
        assert torch.equal(one.codes, other.codes)
    with pytest.raises(InputError, match="no decoder"):
        tokenizer.decode(single[0])


def test_the_last_window_is_the_first_that_reaches_the_end(reference):
    """The package begins another one, and loses tokens by it."""
    path, model = reference
    tokenizer = narrows.load(path)
    frames = 5300
    x = 0.1 * torch.randn(1, 1, frames * 160)
    with torch.inference_mode():
        codes = tokenizer.codec.encode(x)[0, 0]
        mels = tokenizer.codec.encoder.mel(x[:, 0])
        theirs, _ = model.quantize(mels, torch.tensor([frames]))
    window = tokenizer.codec.encoder.frames
    assert len(codes) == -(-frames // window) > theirs.shape[1]
    whole = 2600 // window + 2400 // window  # to the end of what the package keeps of its second window
    assert torch.equal(codes[: whole - 100], theirs[0, : whole - 100])


@pytest.mark.parametrize(("name", "parameters"), [(name, 242.0 if "v3" in name else 123.6) for name in NAMES])
def test_full_size(package, name, parameters):
    with torch.device("meta"):
        model = made(name)
        source = Source(Path(f"{name}.pt"), {}, model.state_dict())
        weights = FAMILY.weights(source)
    expected, _ = expected_shapes(lambda: FAMILY.tokenizer(source), len(source.tensors))
    assert {key: tuple(tensor.shape) for key, tensor in weights.items()} == expected
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(parameters, abs=0.2)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("encoder.conv1.weight", None, "expected a tensor encoder.conv1.weight of 3 axes"),
        ("encoder.conv1.bias", None, "expected the tensor encoder.conv1.bias"),
        ("encoder.conv3.bias", torch.ones(2), "expected only tensors of the codec"),
        ("decoder.conv3.bias", torch.ones(2), "expected only tensors of this kind"),
    ],
)
def test_wrong_files_are_one_line(reference, name, tensor, message):
    path, model = reference
    changed = model.state_dict() | {name: tensor}
    torch.save({key: value for key, value in changed.items() if value is not None}, path)
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(path)
    assert "\n" not in str(caught.value)
