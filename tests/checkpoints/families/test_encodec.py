import json

import pytest
import torch

import narrows
from narrows.checkpoints.families.source import Source, fold_weight_norm
from narrows.errors import ModelError

transformers = pytest.importorskip("transformers")

KINDS = {  # of the published models
    24_000: {},
    32_000: {"use_causal_conv": False, "use_conv_shortcut": False, "target_bandwidths": [9.6]},
    48_000: {
        **{"use_causal_conv": False, "norm_type": "time_group_norm", "audio_channels": 2, "normalize": True},
        **{"chunk_length_s": 0.02, "overlap": 0.05, "target_bandwidths": [28.8]},  # segments of 960 samples
    },
}


@torch.no_grad()
def fill(model):
    """Set the codebooks, which are zeros in a new model, and keep signals at their scale."""
    generator = torch.Generator().manual_seed(2)
    for name, buffer in model.named_buffers():
        if name.endswith(("embed", "embed_avg", "cluster_size")):
            buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
        if name.endswith("inited"):
            buffer.fill_(1)
    for name, parameter in model.named_parameters():
        if name.endswith(("original0", "_g")) or "lstm.weight" in name:
            parameter *= 2
    return model


@pytest.fixture
def reference(randomise):
    """A small EncodecModel with random weights and 4 codebooks or more."""

    def made(rate=24_000, **more):
        settings = {"hidden_size": 16, "num_filters": 4, "upsampling_ratios": [5, 4, 2], "codebook_size": 64}
        settings |= {"sampling_rate": rate, "target_bandwidths": [14.4]} | KINDS[rate] | more
        return fill(randomise(transformers.EncodecModel(transformers.EncodecConfig(**settings))))

    return made


@torch.no_grad()
def compare(tokenizer, model, samples):
    x = 0.3 * torch.randn(1, model.config.audio_channels, samples, generator=torch.Generator().manual_seed(1))
    z = model.encoder(x)
    assert (tokenizer.codec.analyze(x) - z).abs().max() <= 1e-5 * z.abs().max()
    encoded = model.encode(x, bandwidth=model.config.target_bandwidths[-1])
    codes = torch.cat([*encoded.audio_codes], 2)  # of all segments
    codes = codes[..., : codes.shape[2] - encoded.last_frame_pad_length]
    tokens = tokenizer.encode(x[0], tokenizer.sample_rate)
    assert torch.equal(tokens.codes, codes)
    decoded = model.decode(
        encoded.audio_codes, encoded.audio_scales, last_frame_pad_length=encoded.last_frame_pad_length
    )
    expected = decoded.audio_values[0, :, :samples]
    decoded = tokenizer.decode(tokens)
    assert decoded.shape == (model.config.audio_channels, samples)
    assert (decoded - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert expected.square().mean() > 1e-4
    assert len(codes.unique()) > min(30, samples // 40)


@pytest.mark.parametrize("rate", KINDS)
def test_files_of_transformers(tmp_path, reference, rate):
    model = reference(rate)
    model.save_pretrained(tmp_path)
    tokenizer = narrows.load(tmp_path)
    assert (tokenizer.sample_rate, tokenizer.name) == (rate, "encodec")  # of the sizes of no release
    assert tokenizer.codebooks == (2 if rate == 32_000 else 4)
    for samples in (1, 39, 40, 2000, 2001, 1977, 913, 960, 5000):  # ends are reflected, not padded with zeros
        compare(tokenizer, model, samples)


@pytest.mark.parametrize("causal", [False, True])
def test_zeros_at_the_ends(tmp_path, reference, causal):
    model = reference(pad_mode="constant", use_causal_conv=causal)
    model.save_pretrained(tmp_path)
    for samples in (1, 2000, 1977):
        compare(narrows.load(tmp_path), model, samples)


@torch.no_grad()
def test_fewer_codebooks(tmp_path, reference):
    model = reference()
    model.config.target_bandwidths = [7.2, 14.4]
    model.save_pretrained(tmp_path)
    tokenizer = narrows.load(tmp_path)
    x = 0.3 * torch.randn(1, 4000)
    encoded = model.encode(x[None], bandwidth=7.2)
    tokens = tokenizer.encode(x, 24_000, codebooks=2)
    assert torch.equal(tokens.codes, encoded.audio_codes[0])
    expected = model.decode(encoded.audio_codes, encoded.audio_scales).audio_values[0]
    assert (tokenizer.decode(tokens) - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("rate", KINDS)
def test_batches_blocks_and_streams_equal_single_recordings(tmp_path, reference, rate):
    reference(rate).save_pretrained(tmp_path)
    tokenizer = narrows.load(tmp_path)
    signals = [0.3 * torch.randn(1, n) for n in (2000, 3001, 2000, 17)]
    single = [tokenizer.encode(x, rate) for x in signals]
    tokenizer.batch = 3
    for batched, tokens in zip(tokenizer.encode_batch(signals, rate), single, strict=True):
        assert torch.equal(batched.codes, tokens.codes)
    blocks = [block.numpy() for block in signals[1].split(700, 1)]
    for samples in (3001, None):
        assert torch.equal(tokenizer.encode_blocks(blocks, samples, rate).codes, single[1].codes)
    assert tokenizer.decompress(tokenizer.compress(single[1])) == single[1]


@torch.no_grad()
def test_lengths_at_which_the_reference_fails(tmp_path, reference):
    """The last segment, once decoded, ends before the one before it."""
    model = reference(48_000)
    model.save_pretrained(tmp_path)
    tokenizer = narrows.load(tmp_path)
    x = 0.3 * torch.randn(2, 925)
    encoded = model.encode(x[None], bandwidth=28.8)
    with pytest.raises(RuntimeError):
        model.decode(encoded.audio_codes, encoded.audio_scales, None, last_frame_pad_length=23)
    decoded = tokenizer.decode(tokenizer.encode(x, 48_000))
    first = model._decode_frame(encoded.audio_codes[0], encoded.audio_scales[0])[0]
    assert decoded.shape == (2, 925)
    assert (decoded[:, :912] - first[:, :912]).abs().max() <= 1e-5 * first.abs().max()


@pytest.fixture
def authors_model(stub, randomise):
    """Small EncodecModels of the package, with random weights, for 24 and 48 kHz."""
    stub("torchaudio")
    model = pytest.importorskip("encodec.model")
    modules, quantization = pytest.importorskip("encodec.modules"), pytest.importorskip("encodec.quantization")
    sizes = {"dimension": 16, "n_filters": 4, "ratios": [4, 5, 2]}

    def made(rate, **more):
        sizes.update({48_000: {"norm": "time_group_norm", "channels": 2}, 24_000: {"causal": True}}.get(rate, more))
        quantizer = quantization.ResidualVectorQuantizer(dimension=16, n_q=4, bins=64)
        networks = modules.SEANetEncoder(**sizes), modules.SEANetDecoder(**sizes), quantizer
        segments = {"normalize": True, "segment": 1.0} if rate == 48_000 else {}
        return fill(randomise(model.EncodecModel(*networks, [40.0], rate, sizes.get("channels", 1), **segments)))

    return made


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("rate", [24_000, 48_000])
def test_files_of_the_authors(tmp_path, authors_model, rate):
    model = authors_model(rate)
    torch.save(model.state_dict(), tmp_path / "encodec_24khz-d7cc33bc.th")
    tokenizer = narrows.load(tmp_path / "encodec_24khz-d7cc33bc.th")
    assert (tokenizer.sample_rate, tokenizer.name) == (rate, "encodec")
    for samples in (2400, 1001, 48_000):
        x = 0.3 * torch.randn(model.channels, samples)
        encoded = model.encode(x[None])
        tokens = tokenizer.encode(x, rate)
        assert torch.equal(tokens.codes, torch.cat([codes for codes, _ in encoded], 2))
        expected = model.decode(encoded)[0, :, :samples]
        assert (tokenizer.decode(tokens) - expected).abs().max() <= 1e-5 * expected.abs().max()


SETTINGS = """
compression_model: encodec
sample_rate: 16000
channels: 1
encodec: {autoencoder: seanet, sample_rate: "${sample_rate}", causal: CAUSAL, renormalize: false}
seanet: {causal: "${encodec.causal}", pad_mode: PAD, true_skip: true}
"""


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(("causal", "pad"), [(False, "constant"), (True, "reflect")])
def test_files_of_audiocraft(tmp_path, authors_model, causal, pad):
    model = authors_model(16_000, causal=causal, pad_mode=pad, true_skip=True)
    settings = SETTINGS.replace("CAUSAL", str(causal).lower()).replace("PAD", pad)
    facts = {"xp.cfg": settings, "version": "1.3.0", "exported": True}
    torch.save({"best_state": model.state_dict(), **facts}, tmp_path / "compression_state_dict.bin")
    tokenizer = narrows.load(tmp_path)
    assert tokenizer.sample_rate == 16_000
    for samples in (2400, 1001, 3):
        x = 0.3 * torch.randn(1, samples)
        ((codes, _),) = encoded = model.encode(x[None])
        tokens = tokenizer.encode(x, 16_000)
        assert torch.equal(tokens.codes, codes)
        expected = model.decode(encoded)[0, :, :samples]
        assert (tokenizer.decode(tokens) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("a: [", "cannot be read as YAML"),
        ("a: 1", "expected settings of EnCodec as 'xp.cfg'"),
        (3, "expected settings of EnCodec as 'xp.cfg'"),
        (SETTINGS.replace("16000", "x"), "expected an integer as sample_rate"),
        (SETTINGS.replace("CAUSAL", "true").replace("PAD", "edge"), "expected pad_mode of .* to be 'reflect' or"),
        (SETTINGS.replace("renormalize: false", "renormalize: true"), "expected renormalize of .* to be False"),
        (SETTINGS.replace("CAUSAL", "7"), "expected causal of .* to be True or False, got 7"),
    ],
)
def test_wrong_settings_of_audiocraft_are_one_line(tmp_path, authors_model, settings, message):
    state = authors_model(16_000, causal=False).state_dict()
    torch.save({"best_state": state, "xp.cfg": settings}, tmp_path / "compression_state_dict.bin")
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(tmp_path)
    assert "\n" not in str(caught.value)


MUSIC = {"num_filters": 64, "upsampling_ratios": [8, 5, 4, 4], "codebook_size": 2048, "target_bandwidths": [2.2]}
EFFECTS = {"num_filters": 64, "codebook_size": 2048, "target_bandwidths": [2.2], "use_conv_shortcut": False}
STEREO = {"chunk_length_s": 1.0, "overlap": 0.01, "target_bandwidths": [3.0, 24.0]}


@pytest.mark.parametrize(("rate", "settings"), [(16_000, EFFECTS), (24_000, {}), (32_000, MUSIC), (48_000, STEREO)])
def test_full_size(check_full_size, rate, settings):
    config = transformers.EncodecConfig(sampling_rate=rate, **KINDS.get(rate, {}) | settings)
    with torch.device("meta"):
        tensors = fold_weight_norm(transformers.EncodecModel(config).state_dict(), "model.safetensors")
    check_full_size(f"encodec-{rate // 1000}khz", Source("model.safetensors", config.to_dict(), tensors))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pad_mode": "replicate"}, "expected pad_mode of .* to be 'reflect' or 'constant', got 'replicate'"),
        ({"use_causal_conv": 1}, "expected use_causal_conv of .* to be True or False, got 1"),
        ({"sampling_rate": None}, "expected an integer as sampling_rate"),
        ({"sampling_rate": 0}, "."),
        ({"normalize": True}, "expected segments in .* to be normalized, and only these"),
        ({"normalize": True, "chunk_length_s": "1", "overlap": 0.1}, "expected chunk_length_s and overlap of"),
        ({"normalize": True, "chunk_length_s": 0.01, "overlap": 0.9}, "expected a hop from 120 to 240 samples"),
        ({"normalize": True, "chunk_length_s": 1 / 24_000, "overlap": 0.1}, "expected a segment that is a multiple"),
        ({"model_type": "dac"}, "."),
    ],
)
def test_wrong_configs_are_one_line(tmp_path, reference, change, message):
    reference().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["encoder.layers.10.lstm.weight_hh_l1", "quantizer.layers.0.codebook.embed"])
def test_missing_tensors_are_named(tmp_path, reference, name):
    from safetensors.torch import load_file, save_file

    reference().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop(name)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"expected (a|the) tensor (encoder|bottleneck)\.") as caught:
        narrows.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_commands(check_commands, reference, tmp_path):
    reference().save_pretrained(tmp_path / "encodec")
    check_commands(tmp_path / "encodec", train=True)
