import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import narrows
from narrows.checkpoints.families.source import Source
from narrows.errors import InputError, ModelError

transformers = pytest.importorskip("transformers")
CONFIG = {
    "model_type": "whisper",
    "d_model": 32,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "num_mel_bins": 16,
    "quantize_position": 2,
    "pooling_position": 2,
    "pooling_kernel_size": 4,
    "pooling_type": "avg",
    "quantize_vocab_size": 64,
    "quantize_causal_block_size": 20,
    "encoder_causal_convolution": True,
    "encoder_causal_attention": False,
    "max_source_positions": 1500,
}


class Reference(nn.Module):
    """The encoder of GLM-4-Voice, of transformers' layers under the names of its checkpoint.

    It was compared with the authors' code, which needs an older version of transformers.
    """

    def __init__(self, config, layers):
        super().__init__()
        width, self.config = config["d_model"], config
        sizes = {name: config[name] for name in ("d_model", "encoder_attention_heads", "encoder_ffn_dim")}
        options = transformers.WhisperConfig(**sizes, attn_implementation="eager", dropout=0.0)
        module = transformers.models.whisper.modeling_whisper
        self.conv1 = nn.Conv1d(config["num_mel_bins"], width, 3)
        self.conv2 = nn.Conv1d(width, width, 3, 2)
        self.embed_positions = nn.Embedding(config["max_source_positions"], width)
        self.layers = nn.ModuleList(module.WhisperEncoderLayer(options) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(width)  # not used before the codebook
        self.codebook = nn.Embedding(config["quantize_vocab_size"], width)
        self.embed_positions2 = nn.Embedding(375, width)
        self.register_buffer("ema_count", torch.ones(config["quantize_vocab_size"]))
        self.register_buffer("ema_weight", torch.ones(config["quantize_vocab_size"], width))

    def forward(self, input_features, attention_mask):
        h = nn.functional.gelu(self.conv1(nn.functional.pad(input_features, (2, 0))))
        h = nn.functional.gelu(self.conv2(nn.functional.pad(h, (2, 0)))).transpose(1, 2)
        h = h + self.embed_positions.weight[: h.shape[1]]
        valid, block = attention_mask[:, ::2].bool(), self.config["quantize_causal_block_size"]
        seen = torch.ones(h.shape[1], h.shape[1]).tril().bool()
        for start in range(0, h.shape[1], block):
            seen[start : start + block, start : start + block] = True
        mask = torch.where(seen & valid[:, None], 0.0, torch.finfo(torch.float32).min)[:, None]
        for layer in self.layers[: self.config["quantize_position"]]:
            out = layer(h, mask)
            h = out if isinstance(out, torch.Tensor) else out[0]
        pooled = nn.functional.avg_pool1d(h.transpose(1, 2), self.config["pooling_kernel_size"]).transpose(1, 2)
        return pooled, valid[:, :: self.config["pooling_kernel_size"]]


def state_of(model):
    """The tensors of a whole model: its encoder, and a decoder that is left out."""
    state = {f"model.encoder.{name}": tensor for name, tensor in model.state_dict().items()}
    return state | {"model.decoder.layer_norm.bias": torch.ones(3), "proj_out.weight": torch.ones(2, 2)}


@pytest.fixture
def features():
    """features(x) as the authors make them of one piece."""
    extractor = transformers.WhisperFeatureExtractor(feature_size=CONFIG["num_mel_bins"])
    options = {"return_attention_mask": True, "padding": "longest", "pad_to_multiple_of": 1280}
    return lambda x: extractor([x.numpy()], sampling_rate=16_000, return_tensors="pt", **options)


@pytest.fixture
def reference(randomise, features, tmp_path):
    """A small model with two layers that are not used, and its files in tmp_path."""
    model = randomise(Reference(CONFIG, 4))
    with torch.no_grad():
        for layer in (model.conv1, model.conv2):
            layer.weight.mul_(4)
        hidden = [model(**features(0.1 * torch.randn(16_000 * 4)))[0][0, 10:42] for _ in range(2)]
        model.codebook.weight.copy_(torch.cat(hidden))
    save_file(state_of(model), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return model


def test_files_of_the_authors(reference, features, tmp_path):
    tokenizer = narrows.load(tmp_path)
    assert (tokenizer.name, tokenizer.frame_rate) == ("glm_voice", 12.5)
    for samples in (1280 * 30, 12_345, 5, 480_000 + 48_017):  # the last one in two pieces
        x = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))
        codes, latents = [], []
        for piece in x.split(480_000):
            with torch.no_grad():
                hidden, valid = reference(**features(piece))
            exact = "donot_use_mm_for_euclid_dist"  # the vectors differ little from each other
            codes.append(torch.cdist(hidden, reference.codebook.weight[None], compute_mode=exact).argmin(2)[valid])
            latents.append(hidden[valid])
        codes, latents = torch.cat(codes), torch.cat(latents)
        found = tokenizer.codec.analyze(x[None, None])[0].T
        assert (found - latents).abs().max() <= 1e-5 * latents.abs().max()
        assert torch.equal(tokenizer.encode(x, 16_000).codes[0, 0], codes)
    assert len(codes.unique()) > 20


def test_any_length_in_batches(reference, tmp_path):
    tokenizer = narrows.load(tmp_path)
    signals = [0.1 * torch.randn(1, samples) for samples in (5000, 1234, 1280, 5)]
    single = [tokenizer.encode(x, 16_000) for x in signals]
    tokenizer.batch = 4
    for x, one, other in zip(signals, single, tokenizer.encode_batch(signals, 16_000), strict=True):
        assert one.codes.shape == (1, 1, -(-x.shape[1] // 1280))
        assert torch.equal(one.codes, other.codes)
    with pytest.raises(InputError, match="no decoder"):
        tokenizer.decode(single[0])


def test_full_size(check_full_size):
    sizes = {"d_model": 1280, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120, "num_mel_bins": 128}
    sizes |= {"quantize_position": 16, "pooling_position": 16, "quantize_vocab_size": 16_384}
    config = CONFIG | sizes | {"quantize_causal_block_size": 200}
    with torch.device("meta"):
        source = Source(Path("model.safetensors"), config, state_of(Reference(config, 32)))
    check_full_size("glm-4-voice-tokenizer", source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooling_position": 1}, "expected pooling_position 2"),
        ({"pooling_type": "max"}, "expected pooling_type 'avg'"),
        ({"quantize_position": 5, "pooling_position": 5}, "expected the tensor encoder.blocks.4"),
        ({"quantize_causal_block_size": None}, "expected an integer as quantize_causal_block_size"),
        ({"quantize_vocab_size": None}, "expected a checkpoint of this library or of a family"),
        ({"pooling_kernel_size": 7}, "divisor of 1500"),
    ],
)
def test_wrong_configs_are_one_line(reference, tmp_path, change, message):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | change))
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(tmp_path)
    assert "\n" not in str(caught.value)
