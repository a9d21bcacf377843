import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.numpy import save as save_arrays
from safetensors.torch import load_file, save_file

import narrows
from narrows.bitstream import FrequencyTables, quantize
from narrows.checkpoints import folder
from narrows.checkpoints.index import models
from narrows.codecs import FSQ, Codec, FrameDecoder, FrameEncoder
from narrows.errors import InputError, ModelError
from narrows.tokenizers.audio import AudioTokenizer


def codec() -> Codec:
    torch.manual_seed(0)
    return Codec(FrameEncoder(8, 16, 1), FSQ(8, (5, 5), 3, dropout=0.5), FrameDecoder(8, 16, 1, iterations=1))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    made = codec()
    tables = AudioTokenizer(made, 16_000).fit_tables(torch.randint(25, (1, 3, 500)))
    folder.save(tmp_path / "model", made, "small", 16_000, tables)
    return tmp_path / "model"


def test_what_is_saved_is_read_in_half_precision(saved: Path) -> None:
    checkpoint = folder.read(saved)
    for name, value in codec().state_dict().items():
        assert torch.equal(checkpoint.codec.state_dict()[name], value.half().float())
    assert (checkpoint.name, checkpoint.medium, checkpoint.sample_rate) == ("small", "audio", 16_000)
    assert checkpoint.tables is not None
    assert not checkpoint.codec.training
    tokenizer = narrows.load(saved)
    assert tokenizer.fingerprint == checkpoint.fingerprint == folder.fingerprint(saved)
    assert tokenizer.tables == checkpoint.tables


def test_the_fingerprint_changes_with_weights_and_description(saved: Path) -> None:
    first = folder.fingerprint(saved)
    config = json.loads((saved / "config.json").read_text())
    config["codec"]["decoder"]["rounds"] = 2
    (saved / "config.json").write_text(json.dumps(config))
    second = folder.fingerprint(saved)
    weights = load_file(saved / "model.safetensors")
    weights["encoder.out.bias"][0] += 1
    save_file(weights, saved / "model.safetensors")
    assert len({first, second, folder.fingerprint(saved)}) == 3


def edit_config(**changes: object) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | changes))

    return edit


def edit_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        weights = load_file(path / "model.safetensors")
        change(weights)
        save_file(weights, path / "model.safetensors")

    return edit


def huge(path: Path) -> None:
    config = json.loads((path / "config.json").read_text())
    config["codec"]["encoder"]["width"] = 60_000
    (path / "config.json").write_text(json.dumps(config))


def deep(path: Path) -> None:
    config = json.loads((path / "config.json").read_text())
    config["codec"]["encoder"]["depth"] = 60_000
    (path / "config.json").write_text(json.dumps(config))


def write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda path: (path / name).write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "config.json").unlink(), "config.json cannot be read"),
        (write("config.json", b"{"), "config.json cannot be read"),
        (write("config.json", b"[]"), "has no int under 'format'"),
        (write("config.json", b"[" * 100_000), "config.json cannot be read"),
        (write("config.json", b" " * (2 << 20)), "more than a config ever has"),
        (edit_config(format=99), "format 99, this version reads up to 1; upgrade"),
        (edit_config(codec={"part": "os.system"}), "no part is called 'os.system'"),
        (edit_config(codec={"part": "fsq"}), "describes a FSQ, a codec wanted"),
        (edit_config(sample_rate="16000"), "has no int under 'sample_rate'"),
        (edit_config(medium="smell"), "a model for smell"),
        (edit_config(name="../up"), "the name '../up' given"),
        (edit_config(sample_rate=0), "has a sample rate of 0 Hz"),
        (edit_config(sample_rate=True), "has no int under 'sample_rate'"),
        (edit_config(name="-o"), "the name '-o' given"),
        (edit_config(lambdas=0.01), "has lambdas 0.01, numbers"),
        (edit_config(lambdas=[0.01, "1"]), "has lambdas"),
        (edit_config(lambdas=[0]), "has lambdas"),
        (edit_config(lambdas=[float("nan")]), "has lambdas"),
        (deep, "describes far more than the 36 tensors"),
        (huge, "encoder.blocks.0.mix.bias of shape .16,., .60000,. wanted"),
        (lambda path: (path / "model.safetensors").unlink(), "model.safetensors cannot be read"),
        (write("model.safetensors", b"\xff" * 100), "model.safetensors cannot be read"),
        (edit_weights(lambda weights: weights.pop("encoder.out.bias")), "lacks the tensor encoder.out.bias"),
        (edit_weights(lambda weights: weights.update(extra=torch.zeros(1))), "holds extra, which"),
        (
            edit_weights(lambda weights: weights.update({"encoder.out.bias": torch.zeros(9)})),
            "encoder.out.bias of shape .9,., .8,. wanted",
        ),
        (write("tables.safetensors", b"\xff" * 100), "tables.safetensors cannot be read"),
    ],
)
def test_a_damaged_checkpoint_is_named(saved: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(saved)
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(saved)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["speach", "./nowhere", "/nowhere/at/all"])
def test_an_unknown_model_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="no model or folder"):
        narrows.load(name)


def test_every_listed_model_is_there_and_is_what_is_listed() -> None:
    assert models()
    for entry in models():
        tokenizer = narrows.load(entry.name)
        assert tokenizer.fingerprint == entry.fingerprint
        assert tokenizer.tables is not None
        assert (Path(folder.__file__).parent / entry.name / "README.md").exists()


def test_lambdas_are_kept_and_change_no_fingerprint(saved: Path, tmp_path: Path) -> None:
    plain = folder.read(saved)
    folder.save(tmp_path / "other", plain.codec, plain.name, plain.sample_rate, lambdas=(0.01, 1))
    other = folder.read(tmp_path / "other")
    assert (plain.lambdas, other.lambdas) == ((), (0.01, 1.0))
    assert other.fingerprint == plain.fingerprint


def test_tables_of_other_weights_do_not_stay(saved: Path) -> None:
    checkpoint = folder.read(saved)
    assert checkpoint.tables is not None
    folder.save(saved, checkpoint.codec, "tiny", 16_000)
    assert folder.read(saved).tables is None


def test_tables_of_another_codec_are_refused(saved: Path) -> None:
    other = FrequencyTables((quantize([1.0, 1.0]),))
    (saved / "tables.safetensors").write_bytes(save_arrays(other.to_arrays()))
    with pytest.raises(ModelError, match=r"has alphabets of \(2,\)"):
        folder.read(saved)


@pytest.mark.parametrize("bad", [float("nan"), 1e6])
def test_weights_that_do_not_fit_half_precision_are_not_saved(saved: Path, tmp_path: Path, bad: float) -> None:
    codec = folder.read(saved).codec
    codec.state_dict()["encoder.out.bias"][0] = bad
    with pytest.raises(InputError, match=r"encoder.out.bias holds numbers that are not finite"):
        folder.save(tmp_path / "new", codec, "tiny", 16_000)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(saved: Path, value: float) -> None:
    weights = load_file(saved / "model.safetensors")
    weights["encoder.out.bias"][0] = value
    save_file(weights, saved / "model.safetensors")
    with pytest.raises(ModelError, match=r"NaN or infinity in encoder\.out\.bias"):
        narrows.load(saved)


def test_weights_loaded_in_inference_mode_serve_gradients_too(image_checkpoint):
    with torch.inference_mode():
        codec = folder.read(image_checkpoint).codec
    x = torch.zeros(1, 3, 32, 32, requires_grad=True)
    codec.decoder(codec.encoder(x), 8).sum().backward()
    assert x.grad.abs().sum() > 0


def test_loading_imports_no_compiler() -> None:
    """Parts of torch that take longer to import than all else: `torch.device("meta")` would call for them."""
    script = "import sys, narrows; narrows.load('speech'); narrows.load('image'); print('torch._dynamo' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
