from math import prod
from pathlib import Path

import pytest
import torch

import narrows
from narrows.checkpoints.families.source import Source, fold_weight_norm, open_source
from narrows.errors import ModelError

STRIDES = (2, 3, 5)
SIZES = {
    "ngf": 4,
    "use_rnn": True,
    "rnn_bidirectional": False,
    "rnn_num_layers": 2,
    "dilations": (1, 3, 9),
    "out_channels": 24,
    "codebook_size": 100,
    "vq_num_quantizers": 1,
    "codebook_dim": 8,
}


def reference(strides=STRIDES, width=32, **sizes):
    """A model of the package `bigcodec`."""
    pytest.importorskip("einops")
    modules = pytest.importorskip("bigcodec.modules")
    sizes = SIZES | sizes
    rnn = {key: sizes[key] for key in ("use_rnn", "rnn_bidirectional", "rnn_num_layers", "dilations")}
    model = torch.nn.Module()
    model.encoder = modules.CodecEncoder(sizes["ngf"], up_ratios=strides, out_channels=sizes["out_channels"], **rnn)
    quantizer = {key: sizes[key] for key in ("vq_num_quantizers", "codebook_size", "codebook_dim")}
    model.decoder = modules.CodecDecoder(
        in_channels=sizes["out_channels"],
        upsample_initial_channel=width,
        up_ratios=strides[::-1],
        vq_dim=sizes["out_channels"],
        **rnn,
        **quantizer,
    )
    return model


def of_authors(model):
    """The contents of bigcodec.pt, with the weight norm of older versions of PyTorch."""
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}

    def older(name):
        return next((name.replace(new, old) for new, old in names.items() if name.endswith(new)), name)

    return {
        part: {older(name): tensor for name, tensor in module.state_dict().items()}
        for part, module in (("CodecEnc", model.encoder), ("generator", model.decoder))
    }


@pytest.fixture
def model(randomise):
    made = randomise(reference())
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith((".alpha", ".beta")):
                parameter.sub_(1)  # they are logarithms
        quantizer = made.decoder.quantizer.layers[0]
        z = quantizer.in_proj(made.encoder(2 * torch.randn(1, 1, prod(STRIDES) * 100)).transpose(1, 2))[0]
        quantizer._codebook.weight.copy_(z * torch.linspace(0.5, 2, 100)[:, None])  # so that codes differ
    return made


@torch.no_grad()
def compare(tokenizer, model):
    assert (tokenizer.name, tokenizer.sample_rate) == ("bigcodec", 16_000)
    stride = prod(STRIDES)
    for frames in (1, 40):
        x = 2 * torch.randn(2, 1, frames * stride, generator=torch.Generator().manual_seed(frames))
        z = model.encoder(x)
        assert (tokenizer.codec.analyze(x) - z).abs().max() <= 1e-5 * z.abs().max()
        _, codes, _ = model.decoder(z, vq=True)
        assert torch.equal(tokenizer.codec.encode(x), codes.transpose(0, 1))
        latents = model.decoder.vq2emb(codes.permute(1, 2, 0)).transpose(1, 2)
        expected = model.decoder(latents, vq=False)
        decoded = tokenizer.codec.decode(codes.transpose(0, 1))
        assert decoded.shape == expected.shape == (2, 1, frames * stride)
        assert (decoded - expected).abs().max() <= 1e-5 * expected.abs().max()
        assert 0.01 < expected.std() < 0.7
    assert len(codes.unique()) > 5


def test_the_file_of_the_authors(model, tmp_path):
    torch.save(of_authors(model), tmp_path / "bigcodec.pt")
    compare(narrows.load(tmp_path / "bigcodec.pt"), model)


def test_files_of_the_package(model, tmp_path):
    from safetensors.torch import save_file

    save_file(model.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"ngf": 4}')
    compare(narrows.load(tmp_path), model)


def test_any_length_in_batches(model, tmp_path):
    torch.save(of_authors(model), tmp_path / "bigcodec.pt")
    tokenizer = narrows.load(tmp_path / "bigcodec.pt")
    assert tokenizer.codec.encoder.reach == tokenizer.codec.decoder.reach == (None,)
    signals = [0.3 * torch.randn(1, samples) for samples in (1000, 477, 30, 5)]
    single = [tokenizer.encode(x, 16_000) for x in signals]
    tokenizer.batch = 4
    for x, one, other in zip(signals, single, tokenizer.encode_batch(signals, 16_000), strict=True):
        assert torch.equal(one.codes, other.codes)
        assert tokenizer.decode(one).shape == x.shape
    with torch.no_grad():
        padded = torch.nn.functional.pad(signals[1][None], (0, -477 % 30))
        _, codes, _ = model.decoder(model.encoder(padded), vq=True)
    assert torch.equal(single[1].codes, codes)


def test_full_size(check_full_size):
    with torch.device("meta"):
        sizes = {"ngf": 48, "out_channels": 1024, "codebook_size": 8192}
        parts = of_authors(reference((2, 2, 2, 5, 5), 1536, **sizes))
        state = {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
        source = Source(Path("bigcodec.pt"), {}, fold_weight_norm(state, Path("bigcodec.pt")))
    check_full_size("bigcodec-16khz", source)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("encoder.block.0.weight", None, "expected a tensor encoder.block.0.weight of 3 axes"),
        ("encoder.block.0.bias", None, "expected the tensor encoder.block.0.bias"),
        ("decoder.quantizer.layers.1.in_proj.bias", torch.ones(2), "expected only tensors of this kind"),
        ("decoder.quantizer.layers.0._codebook.weight", torch.ones(100, 1), "dim"),
        ("encoder.block.4.lstm.weight_ih_l0_reverse", torch.ones(2), "expected only tensors of the codec"),
        ("decoder.model.2.block.1.weight", torch.ones(32, 16, 8), "expected one stride"),
    ],
)
def test_wrong_files_are_one_line(model, tmp_path, name, tensor, message):
    torch.save(model.state_dict(), tmp_path / "a.pt")
    changed = dict(open_source(tmp_path / "a.pt").tensors) | {name: tensor}
    torch.save({key: value for key, value in changed.items() if value is not None}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(tmp_path / "a.pt")
    assert "\n" not in str(caught.value)


def test_commands(check_commands, model, tmp_path):
    torch.save(of_authors(model), tmp_path / "bigcodec.pt")
    check_commands(tmp_path / "bigcodec.pt")
