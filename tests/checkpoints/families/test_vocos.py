import copy
from pathlib import Path

import pytest
import torch
from torch import nn

import narrows
from narrows.checkpoints.families.source import Source
from narrows.errors import InputError, ModelError

yaml = pytest.importorskip("yaml")
MEL = {
    "feature_extractor": {
        "class_path": "vocos.feature_extractors.MelSpectrogramFeatures",
        "init_args": {"sample_rate": 24_000, "n_fft": 256, "hop_length": 64, "n_mels": 20, "padding": "center"},
    },
    "backbone": {
        "class_path": "vocos.models.VocosBackbone",
        "init_args": {"input_channels": 20, "dim": 32, "intermediate_dim": 48, "num_layers": 2},
    },
    "head": {
        "class_path": "vocos.heads.ISTFTHead",
        "init_args": {"dim": 32, "n_fft": 256, "hop_length": 64, "padding": "center"},
    },
}
ENCODEC = copy.deepcopy(MEL)
ENCODEC["feature_extractor"] = {
    "class_path": "vocos.feature_extractors.EncodecFeatures",
    "init_args": {"encodec_model": "encodec_24khz", "bandwidths": [1.5, 3.0, 6.0, 12.0]},
}
ENCODEC["backbone"]["init_args"]["adanorm_num_embeddings"] = 4
ENCODEC["head"]["init_args"]["padding"] = "same"
PUBLISHED = {  # sizes of the published models
    "backbone": {"input_channels": 100, "dim": 512, "intermediate_dim": 1536, "num_layers": 8},
    "head": {"dim": 512, "n_fft": 1024, "hop_length": 256},
    "feature_extractor": {"n_fft": 1024, "hop_length": 256, "n_mels": 100},
}


class FakeQuantizer(nn.Module):
    """As much of EnCodec's quantizer as Vocos uses."""

    bins, dim = 32, 20

    def __init__(self) -> None:
        super().__init__()
        self.vq = nn.Module()
        self.vq.layers = [nn.Module() for _ in range(32)]
        for layer in self.vq.layers:
            layer.register_buffer("codebook", torch.randn(self.bins, self.dim))

    def get_num_quantizers_for_bandwidth(self, frame_rate, bandwidth):
        return int(bandwidth * 1000 / (frame_rate * 10))


class FakeEncodec(nn.Module):
    frame_rate = 75

    @classmethod
    def encodec_model_24khz(cls, pretrained):
        model = cls()
        model.quantizer = FakeQuantizer()
        return model


@pytest.fixture
def reference(stub, randomise, tmp_path):
    """reference(config) is a model of the package `vocos`, whose files are in tmp_path."""
    stub("encodec")
    import sys

    sys.modules["encodec"].EncodecModel = FakeEncodec
    pytest.importorskip("vocos")
    for name in [name for name in sys.modules if name.startswith("vocos")]:
        del sys.modules[name]  # those of other tests may have imported another stub
    from vocos.pretrained import Vocos

    def made(config):
        (tmp_path / "config.yaml").write_text(yaml.dump(config))
        model = randomise(Vocos.from_hparams(tmp_path / "config.yaml"))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))  # the codebooks, too
        state = {key: value for key, value in model.state_dict().items() if ".encodec." not in key}
        torch.save(state, tmp_path / "pytorch_model.bin")
        return model

    return made


@torch.no_grad()
@pytest.mark.parametrize("padding", ["center", "same"])
def test_mel_models(reference, tmp_path, padding):
    config = copy.deepcopy(MEL)
    for name in ("feature_extractor", "head"):
        config[name]["init_args"]["padding"] = padding
    model, tokenizer = reference(config), narrows.load(tmp_path)
    assert (tokenizer.name, tokenizer.sample_rate) == ("vocos", 24_000)
    for frames in (8, 50):
        x = 0.3 * torch.randn(2, frames * 64)
        features = model.feature_extractor(x)
        latents = tokenizer.codec.analyze(x[:, None])
        assert (latents - features[..., :frames]).abs().max() <= 1e-5 * features.abs().max()
        expected = model.decode(features[..., :frames])
        decoded = tokenizer.codec.synthesize(latents)[:, 0]
        assert decoded.shape == x.shape
        assert (decoded[:, : expected.shape[1]] - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_any_length_in_windows_and_batches(reference, tmp_path):
    reference(MEL)
    tokenizer = narrows.load(tmp_path)
    assert tokenizer.codec.encoder.reach == ((2, 1),)
    assert tokenizer.codec.decoder.reach == ((10, 11),)
    for samples in (1, 100, 64 * 400 + 7):
        x = 0.3 * torch.randn(samples)
        tokenizer.window_seconds = 10
        whole = tokenizer.encode_latents(x, 24_000)
        decoded = tokenizer.decode_latents(whole)
        tokenizer.window_seconds = 0.1
        windowed = tokenizer.encode_latents(x, 24_000)
        torch.testing.assert_close(windowed.values, whole.values, atol=1e-4, rtol=0)
        torch.testing.assert_close(tokenizer.decode_latents(whole), decoded, atol=1e-4, rtol=0)
        assert decoded.shape == (1, samples)
    with pytest.raises(InputError, match="continuous latents"):
        tokenizer.encode(x, 24_000)


@torch.no_grad()
def test_models_of_encodec_codes(reference, tmp_path):
    model, tokenizer = reference(ENCODEC), narrows.load(tmp_path)
    assert (tokenizer.name, tokenizer.sample_rate) == ("vocos", 24_000)
    assert tokenizer.codec.bottleneck.prefixes == (2, 4, 8, 16)
    assert [tokenizer.bitrate(k) for k in (2, 16)] == pytest.approx([2 * 0.375 * 5, 16 * 0.375 * 5])  # of 32 entries
    for frames in (1, 30):
        codes = torch.randint(32, (16, 2, frames))
        for index, count in enumerate((2, 4, 8, 16)):
            features = model.codes_to_features(codes[:count])
            expected = model.decode(features, bandwidth_id=torch.tensor([index]))
            decoded = tokenizer.codec.decode(codes[:count].transpose(0, 1))[:, 0]
            assert decoded.shape == expected.shape == (2, frames * 64)
            assert (decoded - expected).abs().max() <= 1e-5 * expected.abs().max()
    with pytest.raises(InputError, match="no encoder"):
        tokenizer.encode(torch.zeros(1000), 24_000)


@pytest.mark.parametrize("kind", ["mel", "encodec"])
def test_full_size(reference, monkeypatch, check_full_size, kind):
    config = copy.deepcopy(MEL if kind == "mel" else ENCODEC)
    for name, arguments in PUBLISHED.items():
        if name != "feature_extractor" or kind == "mel":
            config[name]["init_args"] |= arguments
    if kind == "encodec":
        config["backbone"]["init_args"] |= {"input_channels": 128, "dim": 384, "intermediate_dim": 1152}
        config["head"]["init_args"] |= {"dim": 384, "n_fft": 1280, "hop_length": 320}
        monkeypatch.setattr(FakeQuantizer, "bins", 1024)
        monkeypatch.setattr(FakeQuantizer, "dim", 128)
    tensors = {key: value.to("meta") for key, value in reference(config).state_dict().items()}
    check_full_size(f"vocos-{kind}-24khz", Source(Path("pytorch_model.bin"), config, tensors))
    counted = [p for name, p in tensors.items() if not name.endswith((".window", ".fb")) and ".encodec." not in name]
    assert sum(map(torch.numel, counted)) == {"mel": 13_531_650, "encodec": 7_984_258 + 16 * 1024 * 128}[kind]


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (("backbone", "init_args", "num_layers"), 3, "expected the tensor decoder.convnext.2"),
        (("backbone", "init_args", "num_layers"), 10**9, "expected depth to be an integer from 1 to"),
        (("backbone", "init_args", "dim"), "32", "expected an integer as dim"),
        (("backbone", "class_path"), "vocos.models.VocosResNetBackbone", "expected vocos.models.VocosBackbone as"),
        (("head", "init_args", "padding"), "valid", "expected center or same as padding"),
        (("head", "init_args", "hop_length"), 32, "expected one stride"),
        (("feature_extractor", "init_args", "n_mels"), 10**9, "expected mels to be an integer from 1 to"),
        (("head", "class_path"), "os.system", "expected a checkpoint of this library or of a family"),
    ],
)
def test_wrong_configs_are_one_line(reference, tmp_path, place, change, message):
    config = copy.deepcopy(MEL)
    reference(config)
    inner = config
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = change
    (tmp_path / "config.yaml").write_text(yaml.dump(config))
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bandwidths", [[], [3.0, 1.5], "6", [1.5, None], [1e9], [0.1]])
def test_wrong_bandwidths(reference, tmp_path, bandwidths):
    reference(ENCODEC)
    config = copy.deepcopy(ENCODEC)
    config["feature_extractor"]["init_args"]["bandwidths"] = bandwidths
    (tmp_path / "config.yaml").write_text(yaml.dump(config))
    with pytest.raises(ModelError, match="expected increasing bandwidths"):
        narrows.load(tmp_path)


@pytest.mark.parametrize(("text", "message"), [("a: [", "as YAML"), ("- 1", "expected a dictionary")])
def test_damaged_configs(reference, tmp_path, text, message):
    reference(MEL)
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(tmp_path)
    assert "\n" not in str(caught.value)
