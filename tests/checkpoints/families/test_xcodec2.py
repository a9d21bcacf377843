import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

import narrows
from narrows.checkpoints.families.source import Source, fold_weight_norm
from narrows.errors import ModelError

transformers = pytest.importorskip("transformers")
pytest.importorskip("torchaudio")  # of the feature extractors of transformers
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
SEMANTIC = {
    "model_type": "wav2vec2-bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 16,
    "encoder_hidden_size": 3,
    "quantization_dim": 96,
    "semantic_model_config": SEMANTIC,
}
KINDS = {"xcodec2": ("Xcodec2", 16_000), "neucodec": ("NeuCodec", 24_000)}


@pytest.fixture
def lively(randomise):
    """Random weights with which codes differ, and whose rounding errors do not grow from layer to layer."""

    def made(model):
        randomise(model)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith((".alpha", ".beta")):
                    parameter.sub_(1)  # they are logarithms
                elif parameter.ndim > 1 and not name.endswith(("weight_g", "original0")):
                    parameter.mul_(1.6)
        return model.eval()

    return made


@pytest.fixture(params=KINDS)
def reference(request, lively, tmp_path):
    """A small model of transformers, its feature extractor, and its files in tmp_path."""
    prefix, rate = KINDS[request.param]
    config = getattr(transformers, f"{prefix}Config")(**SIZES)
    model = lively(getattr(transformers, f"{prefix}Model")(config))
    model.save_pretrained(tmp_path)
    return request.param, model, getattr(transformers, f"{prefix}FeatureExtractor")(), rate


@torch.no_grad()
def test_files_of_transformers(reference, tmp_path):
    name, model, extractor, rate = reference
    tokenizer = narrows.load(tmp_path)
    assert (tokenizer.name, tokenizer.sample_rate) == ("xcodec2", rate)
    assert tokenizer.codec.stride == (rate // 50,)
    for samples in (320 * 30, 320 * 7):
        x = 0.3 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))
        inputs = extractor(audio=[x.numpy()], sampling_rate=16_000, return_tensors="pt")  # with a latent of zeros
        given = inputs["input_values"] if name == "xcodec2" else x[None, None]
        codes = model.encode(inputs["input_values"], input_features=inputs["input_features"]).audio_codes
        z = tokenizer.codec.encoder.at_16_khz(given)
        assert torch.equal(tokenizer.codec.bottleneck.encode(z), codes)
        assert len(codes.unique()) > samples // 1000
        expected = model.decode(audio_codes=codes).audio_values
        decoded = tokenizer.codec.decode(codes.long())
        assert decoded.shape == expected.shape
        assert (decoded - expected).abs().max() <= 1e-5 * expected.abs().max()


@torch.no_grad()
def test_latents(reference, tmp_path):
    _, model, extractor, _ = reference
    tokenizer = narrows.load(tmp_path)
    x = 0.3 * torch.randn(3200)
    semantic = tokenizer.codec.encoder.semantic
    features = extractor(audio=[x.numpy()], sampling_rate=16_000, return_tensors="pt")["input_features"]
    margins = (160, 160 + 320) if tokenizer.sample_rate == 16_000 else (0, 320)
    expected = model.semantic_encoder(features).last_hidden_state.transpose(1, 2)
    found = semantic(torch.nn.functional.pad(x[None], margins))
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()  # features of other code, after logarithms
    expected, encoder = model.acoustic_encoder(x[None, None]), tokenizer.codec.encoder
    found = encoder.conv_final_block(encoder.conv_blocks(x[None, None]))
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    z = torch.randn(1, 96, 500)
    latents, codes = model.quantizer(z.transpose(1, 2))
    assert torch.equal(tokenizer.codec.bottleneck.encode(z)[:, 0], codes[..., 0])
    torch.testing.assert_close(tokenizer.codec.bottleneck(z).latents, latents.transpose(1, 2), atol=1e-5, rtol=1e-5)


def test_any_length_in_batches(reference, tmp_path):
    *_, rate = reference
    tokenizer = narrows.load(tmp_path)
    assert tokenizer.codec.encoder.reach == tokenizer.codec.decoder.reach == (None,)
    signals = [0.3 * torch.randn(1, samples) for samples in (5000, 1234, 320, 5)]
    single = [tokenizer.encode(x, rate) for x in signals]
    tokenizer.batch = 4
    for x, one, other in zip(signals, single, tokenizer.encode_batch(signals, rate), strict=True):
        assert torch.equal(one.codes, other.codes)
        assert tokenizer.decode(one).shape == x.shape


class Rotation(torch.nn.Module):
    """As torchtune's RotaryPositionalEmbeddings: pairs of channels of (B, positions, heads, d) are rotated."""

    def __init__(self, dim):
        super().__init__()
        self.speeds = 10_000 ** (-torch.arange(0, dim, 2) / dim)

    def forward(self, x):
        angles = torch.arange(x.shape[1])[:, None] * self.speeds
        cos, sin = angles.cos()[None, :, None], angles.sin()[None, :, None]
        even, odd = x[..., ::2], x[..., 1::2]
        return torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)


class Projections(torch.nn.Module):
    """The weights of ResidualFSQ, which cannot be made without memory."""

    def __init__(self, dim, levels, num_quantizers):
        super().__init__()
        self.project_in, self.project_out = torch.nn.Linear(dim, len(levels)), torch.nn.Linear(len(levels), dim)


@pytest.fixture
def package(stub):
    stub("torchtune", "torchtune.modules", "local_attention", "local_attention.transformer")
    sys.modules["torchtune.modules"].RotaryPositionalEmbeddings = Rotation
    pytest.importorskip("einops")
    pytest.importorskip("neucodec")


def of_neucodec(sizes, depth, layers, heads):
    """A model of the package `neucodec`: its parts, with a w2v-BERT of more layers than are used."""
    from neucodec import codec_decoder_vocos, model
    from neucodec.codec_encoder import CodecEncoder
    from neucodec.module import SemanticEncoder

    width, semantic, acoustic, narrow = sizes
    made = model.NeuCodec.__new__(model.NeuCodec)
    torch.nn.Module.__init__(made)
    config = transformers.Wav2Vec2BertConfig(
        hidden_size=semantic, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=4 * semantic
    )
    config.output_hidden_states = True
    made.semantic_model = transformers.Wav2Vec2BertModel(config)
    made.feature_extractor = transformers.SeamlessM4TFeatureExtractor()
    made.SemanticEncoder_module = SemanticEncoder(semantic, semantic, semantic)
    made.CodecEnc = CodecEncoder(ngf=narrow, hidden_dim=acoustic)
    dim = semantic + acoustic
    made.generator = codec_decoder_vocos.CodecDecoderVocos(width, depth, width // 64, 64, hop_length=480, vq_dim=dim)
    made.fc_prior, made.fc_post_a = torch.nn.Linear(dim, dim), torch.nn.Linear(dim, width)
    return made


@torch.no_grad()
def test_files_of_the_authors(package, lively, tmp_path):
    model = lively(of_neucodec((128, 32, 24, 3), 2, layers=18, heads=2))
    torch.save(model.state_dict() | {"fc_post_s.weight": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    tokenizer = narrows.load(tmp_path)
    assert tokenizer.sample_rate == 24_000
    x = 0.3 * torch.randn(1, 1, 320 * 20)
    padded = torch.nn.functional.pad(x, (0, 320))
    acoustic = model.CodecEnc(padded).transpose(1, 2)[..., :20]
    features = model.feature_extractor(padded[0].numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    semantic = model.SemanticEncoder_module(model.semantic_model(features).hidden_states[16].transpose(1, 2))
    expected = model.fc_prior(torch.cat([semantic, acoustic], 1).transpose(1, 2)).transpose(1, 2)
    z = tokenizer.codec.encoder.at_16_khz(x)
    assert (z - expected).abs().max() <= 1e-4 * expected.abs().max()
    codes = tokenizer.codec.bottleneck.encode(z)
    latents = tokenizer.codec.bottleneck.decode(codes)
    expected = model.generator(model.fc_post_a(latents.transpose(1, 2)), vq=False)[0]
    decoded = tokenizer.codec.decode(codes)
    assert (decoded - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_full_size(package, monkeypatch, check_full_size):
    with torch.device("meta"):
        monkeypatch.setattr(importlib.import_module("neucodec.codec_decoder_vocos"), "ResidualFSQ", Projections)
        neucodec, xcodec2 = transformers.NeuCodecConfig(), transformers.Xcodec2Config()
        models = [
            ("neucodec", transformers.NeuCodecModel(neucodec), neucodec.to_dict()),
            ("xcodec2-16khz", transformers.Xcodec2Model(xcodec2), xcodec2.to_dict()),
            ("neucodec", of_neucodec((1024, 1024, 1024, 48), 12, 24, 16), {}),
        ]
        sources = [
            (name, Source(Path("x"), config, fold_weight_norm(model.state_dict(), Path("x"))))
            for name, model, config in models
        ]
    for name, source in sources:
        check_full_size(name, source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_attention_heads": None}, "expected an integer as num_attention_heads"),
        ({"num_attention_heads": 7}, "7 heads"),
        ({"model_type": "bert"}, "expected a checkpoint of this library or of a family"),
    ],
)
def test_wrong_configs_are_one_line(reference, tmp_path, change, message):
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(tmp_path)
    assert "\n" not in str(caught.value)
