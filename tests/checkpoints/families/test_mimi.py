import json

import pytest
import torch

import narrows
from narrows.checkpoints.families.source import Source
from narrows.errors import ModelError

transformers = pytest.importorskip("transformers")

SIZES = {
    "hidden_size": 16,
    "num_filters": 4,
    "upsampling_ratios": [3, 2],
    "codebook_size": 32,
    "codebook_dim": 8,
    "vector_quantization_hidden_dimension": 8,
    "num_quantizers": 5,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "sliding_window": 9,
    "upsample_groups": 16,
    "frame_rate": 2000,
}
STRIDE = 12


def fill(model):
    """Set what is constant in a new model, codebooks and scales of layers, and keep signals at their scale."""
    generator = torch.Generator().manual_seed(2)
    for name, tensor in [*model.named_buffers(), *model.named_parameters()]:
        with torch.no_grad():
            if name.endswith(("embed_sum", "embedding_sum")):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
                tensor[0] *= 1e-5  # a code that is not used
            elif name.endswith("cluster_usage"):
                tensor.copy_(2 * torch.rand(tensor.shape, generator=generator))
                tensor[0] = 0
            elif name.endswith("scale"):
                tensor.copy_(0.5 * torch.randn(tensor.shape, generator=generator))
            elif name.endswith("initialized"):
                tensor.fill_(1)
            elif tensor.ndim > 1:
                tensor *= 2
    return model


@pytest.fixture
def reference(randomise):
    """A small MimiModel with random weights."""

    def made(**more):
        return fill(randomise(transformers.MimiModel(transformers.MimiConfig(**SIZES | more))))

    return made


@torch.no_grad()
def compare(tokenizer, encode, decode, samples):
    """Codes and audio of a recording equal those of a reference that is given whole frames."""
    x = 0.5 * torch.randn(1, samples, generator=torch.Generator().manual_seed(1))
    codes = encode(torch.nn.functional.pad(x, (0, -samples % STRIDE))[None])
    tokens = tokenizer.encode(x, tokenizer.sample_rate)
    assert torch.equal(tokens.codes, codes)
    for k in (2, codes.shape[1]):
        expected = decode(codes[:, :k])[0, :, :samples]
        decoded = tokenizer.decode(tokens[:, :k])
        assert (decoded - expected).abs().max() <= 1e-5 * expected.abs().max()
        assert expected.std() > 1e-3
    assert len(codes.unique()) > min(20, samples // STRIDE)


def test_files_of_transformers(tmp_path, reference):
    model = reference()
    model.save_pretrained(tmp_path)
    tokenizer = narrows.load(tmp_path)
    assert (tokenizer.sample_rate, tokenizer.name, tokenizer.codebooks) == (24_000, "mimi", 5)
    x = torch.randn(2, 1, 40 * STRIDE)
    with torch.no_grad():
        z = model.encoder(x).latents
        assert (tokenizer.codec.analyze(x) - z).abs().max() <= 1e-5 * z.abs().max()
    for samples in (STRIDE * 2, STRIDE * 300, STRIDE * 30 - 7):  # the window is 4.5 frames
        compare(tokenizer, lambda x: model.encode(x).audio_codes, lambda c: model.decode(c).audio_values, samples)


def test_both_names_of_transformers(tmp_path, reference):
    """Files have the names of its first version; a newer one has others in memory."""
    from safetensors.torch import load_file, save_file

    model = reference()
    model.save_pretrained(tmp_path)
    expected = narrows.load(tmp_path)
    assert "encoder.layers.0.conv.weight" in load_file(tmp_path / "model.safetensors")
    assert "encoder.encoder_seanet.layers.0.conv.weight" in model.state_dict()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    assert narrows.load(tmp_path).fingerprint == expected.fingerprint


@pytest.fixture
def authors_model(stub, randomise):
    """A small MimiModel of the package moshi, with random weights; its window is 250 positions."""
    stub("sphn", "sentencepiece")
    pytest.importorskip("moshi")
    from moshi.models.compression import MimiModel
    from moshi.modules import SEANetDecoder, SEANetEncoder, transformer
    from moshi.quantization import SplitResidualVectorQuantizer

    seanet = {
        **{"channels": 1, "dimension": 16, "causal": True, "n_filters": 4, "n_residual_layers": 1},
        **{"kernel_size": 7, "residual_kernel_size": 3, "last_kernel_size": 3, "norm": "none"},
        **{"pad_mode": "constant", "ratios": [3, 2], "true_skip": True, "dilation_base": 2, "compress": 2},
    }
    layers = {
        **{"d_model": 16, "num_heads": 8, "num_layers": 2, "causal": True, "layer_scale": 0.01, "context": 250},
        **{"conv_layout": True, "max_period": 10_000, "gating": "none", "norm": "layer_norm"},
        **{"positional_embedding": "rope", "dim_feedforward": 24, "input_dimension": 16, "output_dimensions": [16]},
    }
    model = MimiModel(
        SEANetEncoder(**seanet),
        SEANetDecoder(**seanet),
        SplitResidualVectorQuantizer(dimension=8, n_q=5, bins=32, input_dimension=16, output_dimension=16),
        channels=1,
        sample_rate=24_000,
        frame_rate=2000,
        encoder_frame_rate=4000,
        causal=True,
        resample_method="conv",
        encoder_transformer=transformer.ProjectedTransformer(**layers),
        decoder_transformer=transformer.ProjectedTransformer(**layers),
    )
    return fill(randomise(model))


def test_files_of_the_authors(tmp_path, authors_model):
    from safetensors.torch import save_file

    tensors = dict(authors_model.state_dict())
    for name in list(tensors):  # as they are in the published file
        published = name.replace("in_projs.0.weight", "in_proj_weight").replace("out_projs.0.", "out_proj.")
        tensors[published] = tensors.pop(name)
    path = tmp_path / "tokenizer-e351c8d8-checkpoint125.safetensors"
    save_file(tensors, path)
    (tmp_path / "config.json").write_text(json.dumps({"dim": 4096, "text_card": 32_000}))  # of the language model
    for loaded in (path, tmp_path):
        tokenizer = narrows.load(loaded)
        assert (tokenizer.sample_rate, tokenizer.name, tokenizer.codebooks) == (24_000, "mimi", 5)
        assert tokenizer.codec.encoder.transformer[0].self_attn.window == 250
    for samples in (STRIDE * 2, STRIDE * 400, STRIDE * 50 - 5):  # the window is 125 frames
        compare(tokenizer, authors_model.encode, authors_model.decode, samples)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 7, 100])
def test_steps_equal_the_whole_beyond_the_window(tmp_path, reference, frames):
    reference(sliding_window=250).save_pretrained(tmp_path)
    codec = narrows.load(tmp_path).codec
    x = 0.5 * torch.randn(2, 1, 400 * STRIDE)  # 800 positions of the transformer
    latents, states = [], [codec.encoder.start(2), codec.decoder.start(2)]
    for piece in x.split(frames * STRIDE, 2):
        z, states[0] = codec.encoder.step(piece, states[0])
        latents.append(z)
    whole = codec.analyze(x)
    z = torch.cat(latents, 2)
    assert (z - whole).abs().max() <= 1e-5 * whole.abs().max()
    assert torch.equal(codec.bottleneck.encode(z), codec.encode(x))
    audio = []
    for piece in whole.split(frames, 2):
        y, states[1] = codec.decoder.step(piece, states[1])
        audio.append(y)
    expected = codec.synthesize(whole)
    assert (torch.cat(audio, 2) - expected).abs().max() <= 1e-5 * expected.abs().max()
    kept = [layer.keys.shape[2] for part in states for layer in keys_of(part)]
    assert kept == [249] * 4


def keys_of(state):
    """The states of attention layers in a state."""
    for part in getattr(state, "parts", ()):
        yield from [part] if hasattr(part, "keys") else keys_of(part)


def test_windows_and_batches_equal_the_whole(tmp_path, reference):
    reference().save_pretrained(tmp_path)
    tokenizer = narrows.load(tmp_path)
    assert tokenizer.codec.encoder.reach == ((12, 0),)
    assert tokenizer.codec.decoder.reach == ((14, 0),)
    signals = [0.5 * torch.randn(1, n) for n in (STRIDE * 400, STRIDE * 150 + 7, 500)]
    whole = [tokenizer.encode(x, 24_000) for x in signals]
    decoded = tokenizer.decode(whole[0])
    tokenizer.window_seconds = 0.03
    for x, tokens in zip(signals, whole, strict=True):
        assert torch.equal(tokenizer.encode(x, 24_000).codes, tokens.codes)
    assert (decoded - tokenizer.decode(whole[0])).abs().max() <= 1e-5
    tokenizer.batch = 4
    for batched, tokens in zip(tokenizer.encode_batch(signals, 24_000), whole, strict=True):
        assert torch.equal(batched.codes, tokens.codes)


def test_recordings_of_similar_lengths_are_one_batch(tmp_path, reference, monkeypatch):
    reference().save_pretrained(tmp_path)
    tokenizer = narrows.load(tmp_path)
    tokenizer.batch = 8
    signals = [0.5 * torch.randn(1, n) for n in range(80 * STRIDE, 88 * STRIDE, STRIDE + 1)]
    single = [tokenizer.encode(x, 24_000) for x in signals]
    shapes, analyze = [], tokenizer.codec.analyze
    monkeypatch.setattr(tokenizer.codec, "analyze", lambda x: shapes.append(tuple(x.shape)) or analyze(x))
    for batched, tokens in zip(tokenizer.encode_batch(signals, 24_000), single, strict=True):
        assert torch.equal(batched.codes, tokens.codes)
    assert shapes == [(1, 1, 80 * STRIDE), (7, 1, 88 * STRIDE)]  # one has 80 frames, the others 81 to 88


def test_full_size(check_full_size):
    config = transformers.MimiConfig()
    with torch.device("meta"):
        model = transformers.MimiModel(config)
    check_full_size("mimi", Source("model.safetensors", config.to_dict(), model.state_dict()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pad_mode": "reflect"}, "expected pad_mode of .* to be 'constant', got 'reflect'"),
        ({"rope_parameters": {"rope_theta": 100.0, "rope_type": "default"}}, "expected rope_theta of .* got 100"),
        ({"num_key_value_heads": 1}, "expected num_key_value_heads of .* to be 2, got 1"),
        ({"num_attention_heads": 3, "num_key_value_heads": 3}, "expected num_attention_heads that divide 16"),
        ({"sliding_window": 0}, "expected window to be an integer from 1"),
        ({"sliding_window": None}, "expected an integer as sliding_window"),
        ({"model_type": "encodec"}, "."),
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
    reference().save_pretrained(tmp_path / "mimi")
    check_commands(tmp_path / "mimi", train=True)
