import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

import narrows
from narrows.checkpoints.families.source import Source, fold_weight_norm
from narrows.errors import ModelError

transformers = pytest.importorskip("transformers")
pytest.importorskip("torchaudio")  # with which transformers resamples
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

SEMANTIC = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": [8] * 7,
}
KINDS = {
    "xcodec": ("Xcodec", [8, 5, 4, 2], 16_000, 320),
    "higgs-audio-v2": ("HiggsAudioV2Tokenizer", [8, 5, 4, 2, 3], 24_000, 960),
}


def small(name, semantic="hubert"):
    prefix, strides, _, _ = KINDS[name]
    acoustic = {
        "encoder_hidden_size": 2,
        "decoder_hidden_size": 64,
        "hidden_size": 16,
        "downsampling_ratios": strides,
        "upsampling_ratios": strides,
    }
    config = {
        "acoustic_model_config": transformers.DacConfig(**acoustic),
        "semantic_model_config": {"hubert": transformers.HubertConfig, "wavlm": transformers.WavLMConfig}[semantic](
            **SEMANTIC
        ),
        "codebook_size": 64,
        "codebook_dim": 48 if name == "xcodec" else 12,
    }
    if name == "higgs-audio-v2":
        config["target_bandwidths"] = [0.5, 1]
    return getattr(transformers, f"{prefix}Model")(getattr(transformers, f"{prefix}Config")(**config))


@pytest.fixture
def reference(randomise, tmp_path):
    """reference(name, semantic) saves a small random model of transformers in tmp_path."""

    def made(name, semantic="hubert"):
        model = randomise(small(name, semantic))
        torch.manual_seed(0)
        with torch.no_grad():
            for module in (model.acoustic_encoder, model.encoder_semantic, model.fc):
                for parameter in module.parameters():
                    if parameter.ndim > 1 and parameter.shape[0] > 1:
                        parameter.mul_(1.5)  # so that codes change with time
            for buffer, values in model.named_buffers():
                if buffer.endswith(("embed", "embed_avg")):
                    values.copy_((1 if name == "xcodec" else 0.1) * torch.randn(values.shape))
        model.save_pretrained(tmp_path)
        return model

    return made


@torch.no_grad()
def compare(tokenizer, model, samples):
    stride = tokenizer.codec.stride[0]
    x = 0.3 * torch.randn(1, samples, generator=torch.Generator().manual_seed(samples))
    padded = torch.nn.functional.pad(x, (0, -samples % stride))[None]
    given = []
    with model.fc.register_forward_hook(lambda module, inputs, out: given.append(out.transpose(1, 2))):
        codes = model.encode(padded).audio_codes
    assert (tokenizer.codec.analyze(padded) - given[0]).abs().max() <= 1e-5 * given[0].abs().max()
    assert len(codes.transpose(1, 2).flatten(0, 1).unique(dim=0)) > 5  # they change with time
    tokens = tokenizer.encode(x, tokenizer.sample_rate)
    assert torch.equal(tokens.codes, codes)
    for k in (1, codes.shape[1]):
        audio = model.decode(codes[:, :k]).audio_values[0]
        assert 0.01 < audio.std() < 100
        decoded = tokenizer.decode(tokens[:, :k])
        assert decoded.shape == x.shape
        assert (decoded - audio[:, :samples]).abs().max() <= 1e-5 * audio.abs().max()


@pytest.mark.parametrize(
    ("name", "semantic"), [("xcodec", "hubert"), ("xcodec", "wavlm"), ("higgs-audio-v2", "hubert")]
)
def test_files_of_transformers(reference, tmp_path, name, semantic):
    model = reference(name, semantic)
    tokenizer = narrows.load(tmp_path)
    _, _, rate, stride = KINDS[name]
    assert (tokenizer.name, tokenizer.sample_rate, tokenizer.codec.stride) == ("xcodec", rate, (stride,))
    assert (tokenizer.codec.encoder.reach, tokenizer.codec.decoder.reach[0]) == ((None,), (10, 10))
    for samples in (20 * stride, 13 * stride + 77):
        compare(tokenizer, model, samples)


def test_batches_equal_singles(reference, tmp_path):
    reference("xcodec")
    tokenizer = narrows.load(tmp_path)
    signals = [0.3 * torch.randn(1, n) for n in (8000, 5005, 8000)]
    singles = [tokenizer.encode(x, 16_000) for x in signals]
    tokenizer.batch = 3
    for batched, single in zip(tokenizer.encode_batch(signals, 16_000), singles, strict=True):
        assert torch.equal(batched.codes, single.codes)


def names_of_authors(tensors, stages):
    """The names of transformers' tensors as the authors have them."""
    unit = {"snake1": 0, "conv1": 1, "snake2": 2, "conv2": 3}

    def renamed(name):
        if match := re.fullmatch(r"acoustic_(encoder|decoder)\.(conv1|snake1|conv2)\.(\w+)", name):
            place = {"conv1": 0, "snake1": stages + 1, "conv2": stages + 2}[match[2]]
            return f"{'encoder.block' if match[1] == 'encoder' else 'decoder_2.model'}.{place}.{match[3]}"
        if match := re.fullmatch(r"acoustic_(encoder|decoder)\.block\.(\d+)\.(\w+)\.(.+)", name):
            encodes = match[1] == "encoder"
            stem = f"{'encoder.block' if encodes else 'decoder_2.model'}.{int(match[2]) + 1}.block"
            if match[3].startswith("res_unit"):
                layer, _, rest = match[4].partition(".")
                return f"{stem}.{int(match[3][-1]) - 1 + 2 * (not encodes)}.block.{unit[layer]}.{rest}"
            places = {"snake1": 3, "conv1": 4} if encodes else {"snake1": 0, "conv_t1": 1}
            return f"{stem}.{places[match[3]]}.{match[4]}"
        name = re.sub(r"^(encoder_semantic\..*conv)\.", r"\1.conv.", name)
        name = re.sub(r"quantizer\.quantizers\.(\d+)\.codebook", r"quantizer.vq.layers.\1._codebook", name)
        for theirs, ours in (("fc.", "fc_prior."), ("fc1.", "fc_post1."), ("fc2.", "fc_post2.")):
            name = ours + name.removeprefix(theirs) if name.startswith(theirs) else name
        return name

    return {renamed(name): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize("name", KINDS)
def test_files_of_the_authors(reference, tmp_path, name):
    model = reference(name)
    tensors = names_of_authors(load_file(tmp_path / "model.safetensors"), len(KINDS[name][1]))
    save_file(tensors, tmp_path / "model.safetensors")
    config = {"sample_rate": KINDS[name][2], "semantic_model_config": {"num_attention_heads": 4}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    compare(narrows.load(tmp_path), model, 9 * KINDS[name][3] + 5)


@pytest.mark.parametrize("name", KINDS)
def test_full_size(check_full_size, name):
    prefix, strides, _, _ = KINDS[name]
    config = getattr(transformers, f"{prefix}Config")()
    if name == "higgs-audio-v2":
        config.target_bandwidths = [0.5, 1, 1.5, 2]
        config.acoustic_model_config.downsampling_ratios = config.acoustic_model_config.upsampling_ratios = strides
    with torch.device("meta"):
        model = getattr(transformers, f"{prefix}Model")(config)
        tensors = fold_weight_norm(model.state_dict(), "model.safetensors")
    check_full_size(
        "xcodec-16khz" if name == "xcodec" else name, Source("model.safetensors", config.to_dict(), tensors)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strides": [1, 2]}, r"expected strides \[1, 1\] in the config"),
        ({"sample_rate": "x"}, "expected an integer as sample_rate"),
        ({"sample_rate": 44_100}, "expected strides of a multiple of"),
        ({"semantic_model_config": {"num_attention_heads": 5}}, "expected a width that is a multiple of 16"),
    ],
)
def test_wrong_configs_are_one_line(reference, tmp_path, change, message):
    reference("xcodec")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_tensors_are_named(reference, tmp_path):
    reference("xcodec")
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["acoustic_decoder.conv1.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"expected a tensor decoder\.model\.0\.weight of 3 axes"):
        narrows.load(tmp_path)
