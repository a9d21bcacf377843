import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.numpy import save as save_arrays
from safetensors.torch import load_file, save_file
from safetensors.torch import save as save_tensors

import narrows
from narrows.bitstream import FrequencyTables, integer_frequencies
from narrows.checkpoints import folder
from narrows.checkpoints.index import MODELS_FOLDER, models
from narrows.codecs import (
    ARD,
    FSQ,
    VQ,
    Bottleneck,
    Codec,
    EMACodebook,
    FrameDecoder,
    FrameEncoder,
    Rounding,
    VectorQuantizePytorch,
)
from narrows.errors import InputError, MediaError, ModelError
from narrows.parts import spec
from narrows.tokenizers.audio import AudioTokenizer


def codec() -> Codec:
    torch.manual_seed(0)
    return Codec(FrameEncoder(8, 16, 1), FSQ(8, (5, 5), 3, dropout=0.5), FrameDecoder(8, 16, 1, iterations=1))


def tokenizer() -> AudioTokenizer:
    made = AudioTokenizer(codec(), 16_000)
    made.name, made.tables = "small", made.fit_tables(torch.randint(25, (1, 3, 500)))
    return made


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder.save(tmp_path / "model", tokenizer(), torch.float16)
    return tmp_path / "model"


def test_what_is_saved_is_read(saved: Path) -> None:
    made, again = tokenizer(), folder.read(saved)
    for name, value in made.codec.state_dict().items():
        assert torch.equal(again.codec.state_dict()[name], value.half().float())
    assert isinstance(again, AudioTokenizer)
    assert (again.name, again.sample_rate, again.tables) == ("small", 16_000, made.tables)
    assert not again.codec.training
    assert not any(parameter.requires_grad for parameter in again.codec.parameters())
    loaded = narrows.load(saved)
    assert loaded.fingerprint == again.fingerprint
    assert json.loads((saved / "config.json").read_text())["tokenizer"] == json.loads(json.dumps(spec(again)))


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_a_dtype_is_a_form_of_storage(tmp_path: Path, dtype: torch.dtype | None) -> None:
    """Whatever the floats are stored as, the model computes in float32."""
    made = tokenizer()
    folder.save(tmp_path / "model", made, dtype)
    stored = load_file(tmp_path / "model" / "model.safetensors")["encoder.out.bias"]
    assert stored.dtype == (dtype or torch.float32)
    read = folder.read(tmp_path / "model")
    assert {p.dtype for p in read.codec.parameters()} == {torch.float32}
    assert torch.equal(read.codec.get_parameter("encoder.out.bias"), stored.float())
    assert read.decode(read.encode(torch.zeros(1, 700), 16_000)).shape == (1, 700)
    folder.save(tmp_path / "again", read, dtype)
    assert load_file(tmp_path / "again" / "model.safetensors")["encoder.out.bias"].dtype == stored.dtype
    assert folder.read(tmp_path / "again").fingerprint == read.fingerprint
    assert (read.fingerprint == made.fingerprint) == (dtype in (None, torch.float32, torch.float64))


@pytest.mark.parametrize(
    "bottleneck",
    [
        VQ(8, EMACodebook(4, 16)),
        ARD(8, 4, Rounding()),
        VectorQuantizePytorch(8, "ResidualVQ", (("num_quantizers", 2), ("codebook_size", 16))),
    ],
    ids=lambda bottleneck: type(bottleneck).__name__,
)
def test_statistics_beyond_the_range_of_float16_are_stored(bottleneck: Bottleneck, tmp_path: Path) -> None:
    made = AudioTokenizer(Codec(FrameEncoder(8, 16, 1), bottleneck, FrameDecoder(8, 16, 1)), 16_000)
    made.name = "large"
    floats = [name for name, value in bottleneck.state_dict().items() if value.is_floating_point()]
    statistics = sorted(set(floats) - dict(bottleneck.named_parameters()).keys())
    for name in statistics:
        bottleneck.get_buffer(name).fill_(1e6)
    folder.save(tmp_path, made, torch.float16)
    again = folder.read(tmp_path).codec
    for name in statistics:
        assert torch.equal(again.get_buffer(f"bottleneck.{name}"), bottleneck.get_buffer(name)), name
    assert load_file(tmp_path / "model.safetensors")["encoder.out.bias"].dtype == torch.float16
    assert statistics


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64, torch.float8_e4m3fn, "float16"])
def test_other_dtypes_are_not_saved(tmp_path: Path, dtype: object) -> None:
    with pytest.raises(InputError, match=r"expected a dtype of torch.float16, .* or None, got"):
        folder.save(tmp_path / "model", tokenizer(), dtype)  # type: ignore[arg-type]
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_weights_of_other_types_are_refused(saved: Path, dtype: torch.dtype) -> None:
    weights = load_file(saved / "model.safetensors")
    weights["encoder.embed.bias"] = weights["encoder.embed.bias"].to(dtype)
    save_file(weights, saved / "model.safetensors")
    with pytest.raises(ModelError, match=r"expected encoder.embed.bias in .* as torch.float16 or .*, got torch"):
        folder.read(saved)


def test_a_model_is_loaded_alike_under_other_defaults(saved: Path) -> None:
    """Defaults of the process for new tensors change neither constants nor weights."""
    x = torch.randn(1, 2000)
    known = folder.read(saved).encode(x, 16_000)
    try:
        for dtype in (torch.float64, torch.bfloat16):
            torch.set_default_dtype(dtype)
            assert folder.read(saved).encode(x, 16_000) == known
            assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        assert folder.read(saved).encode(x, 16_000) == known


DRAWS: list[Callable[[torch.Tensor], object]] = [
    torch.nn.init.xavier_uniform_,
    torch.nn.init.trunc_normal_,
    torch.nn.init.orthogonal_,
    torch.Tensor.random_,
    torch.Tensor.bernoulli_,
    torch.Tensor.exponential_,
    torch.Tensor.log_normal_,
    torch.Tensor.cauchy_,
    lambda weight: torch.normal(0.0, 1.0, (3,)),
    lambda weight: torch.bernoulli(torch.full((3,), 0.5, device="cpu")),
    lambda weight: torch.multinomial(torch.ones(4, device="cpu"), 2),
]


@pytest.mark.parametrize("draw", DRAWS)
def test_loading_changes_no_random_state(
    draw: Callable[[torch.Tensor], object], saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever random numbers the initialization of a part draws."""
    drawn = []

    @torch.no_grad()
    def reset(self: torch.nn.Linear) -> None:
        drawn.append(None if self.weight.is_meta else draw(self.weight))

    monkeypatch.setattr(torch.nn.Linear, "reset_parameters", reset)
    state = torch.get_rng_state()
    narrows.load(saved)
    assert drawn
    assert torch.equal(torch.get_rng_state(), state)


def test_only_tokenizers_are_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder and a Tokenizer, got a Codec"):
        folder.save(tmp_path, codec())  # type: ignore[arg-type]


@pytest.mark.parametrize(("model", "device"), [(None, "cpu"), (b"speech", "cpu"), ("speech", None)])
def test_invalid_names_and_devices_are_rejected(model: object, device: object) -> None:
    with pytest.raises((ModelError, InputError), match=r"expected (a model name|an available device)"):
        narrows.load(model, device)  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["file", "file/below", "\0"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match=r"expected|cannot be written"):
        folder.save(tmp_path / name, tokenizer())


def test_a_checkpoint_stays_as_it_was_where_a_new_one_cannot_be_written(saved: Path) -> None:
    """All files are written before the first one is replaced."""
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    other = tokenizer()
    other.name = "other"
    (saved / "tables.safetensors").unlink()
    (saved / "tables.safetensors").mkdir()
    with pytest.raises(MediaError, match="is a folder"):
        folder.save(saved, other)
    (saved / "tables.safetensors").rmdir()
    assert {path.name: path.read_bytes() for path in saved.iterdir()} | before == before
    other.tables = None
    (saved / "tables.safetensors").mkdir()
    with pytest.raises(MediaError, match="cannot be written"):
        folder.save(saved, other)
    assert (saved / "config.json").read_bytes() == before["config.json"]


def test_parts_without_weights_count_too(saved: Path) -> None:
    """The layers of this quantizer have constants and statistics only, and no parameters."""
    config = json.loads((saved / "config.json").read_text())
    options = [["codebook_size", 4], ["num_quantizers", 1 << 16]]
    bottleneck = {"part": "vector-quantize-pytorch", "dim": 8, "quantizer": "ResidualVQ", "options": options}
    config["tokenizer"]["codec"]["bottleneck"] = bottleneck
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"expected 36 tensors, .* got far more in config.json"):
        folder.read(saved)


def test_the_fingerprint_changes_with_weights_and_description(saved: Path) -> None:
    first = folder.read(saved).fingerprint
    config = json.loads((saved / "config.json").read_text())
    config["tokenizer"]["codec"]["decoder"]["iterations"] = 2
    (saved / "config.json").write_text(json.dumps(config))
    second = folder.read(saved).fingerprint
    weights = load_file(saved / "model.safetensors")
    weights["encoder.out.bias"][0] += 1
    save_file(weights, saved / "model.safetensors")
    assert len({first, second, folder.read(saved).fingerprint}) == 3


def edit_config(**changes: object) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | changes))

    return edit


def edit_tokenizer(**changes: object) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        config = json.loads((path / "config.json").read_text())
        config["tokenizer"] |= changes
        (path / "config.json").write_text(json.dumps(config))

    return edit


def edit_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        weights = load_file(path / "model.safetensors")
        change(weights)
        save_file(weights, path / "model.safetensors")

    return edit


def huge(path: Path) -> None:
    config = json.loads((path / "config.json").read_text())
    config["tokenizer"]["codec"]["encoder"]["width"] = 60_000
    (path / "config.json").write_text(json.dumps(config))


def deep(path: Path) -> None:
    config = json.loads((path / "config.json").read_text())
    config["tokenizer"]["codec"]["encoder"]["depth"] = 60_000
    (path / "config.json").write_text(json.dumps(config))


def write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda path: (path / name).write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "config.json").unlink(), "its config.json belongs beside it"),
        (write("config.json", b"{"), "config.json cannot be read"),
        (write("config.json", b"[]"), "expected an integer under 'format'"),
        (write("config.json", b"[" * 100_000), "config.json cannot be read"),
        (write("config.json", b" " * (2 << 20)), "expected .* of at most 1048576 bytes"),
        (edit_config(format=99), "expected a checkpoint of format 2, got 99 .* upgrade"),
        (edit_config(format=1), "expected a checkpoint of format 2, got 1 .* train or publish it again"),
        (
            edit_config(tokenizer={"part": "os.system"}),
            r"got 'os.system'.*; import the module that registers it \(codec --import MODULE\)",
        ),
        (edit_config(tokenizer={"part": "fsq"}), "expected the config of a tokenizer, got one of a FSQ"),
        (edit_config(tokenizer=3), "expected a dict under 'tokenizer'"),
        (edit_tokenizer(sample_rate="16000"), "a whole number of Hz, got '16000'"),
        (edit_tokenizer(part="smell-tokenizer"), "got 'smell-tokenizer'.*; import the module that registers"),
        (edit_tokenizer(part="image-tokenizer"), "image-tokenizer has no argument 'sample_rate'"),
        (edit_config(name="../up"), "expected a name .* got '../up'"),
        (edit_tokenizer(sample_rate=0), "sample rate from 1000 to 384000 Hz, got 0 Hz"),
        (edit_tokenizer(sample_rate=True), "a whole number of Hz, got True"),
        (edit_config(name="-o"), "expected a name .* got '-o'"),
        (deep, "expected 36 tensors, .* got far more in config.json"),
        (huge, "expected encoder.blocks.0.mix.bias of shape .60000,. in .* got .16,."),
        (lambda path: (path / "model.safetensors").unlink(), "model.safetensors cannot be read"),
        (write("model.safetensors", b"\xff" * 100), "model.safetensors cannot be read"),
        (
            edit_weights(lambda weights: weights.pop("encoder.out.bias")),
            "expected the tensor encoder.out.bias",
        ),
        (edit_weights(lambda weights: weights.update(extra=torch.zeros(1))), "got 'extra' in"),
        (
            edit_weights(lambda weights: weights.update({"encoder.out.bias": torch.zeros(9)})),
            "expected encoder.out.bias of shape .8,. in .* got .9,.",
        ),
        (write("tables.safetensors", b"\xff" * 100), "tables.safetensors cannot be read"),
        (
            write("tables.safetensors", save_tensors({"sizes": torch.ones(2, dtype=torch.bfloat16)})),
            "'sizes', got BF16",
        ),
        (
            write("tables.safetensors", save_tensors({"digits": torch.ones(2).to(torch.float8_e4m3fn)})),
            "'digits', got F8_E4M3",
        ),
    ],
)
def test_a_damaged_checkpoint_is_named(saved: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(saved)
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(saved)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["speach", "./nowhere", "/nowhere/at/all"])
def test_an_unknown_model_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="expected a model name, folder or hub repository, got"):
        narrows.load(name)


def test_every_listed_model_is_there_and_is_what_is_listed() -> None:
    assert models()
    for entry in models():
        tokenizer = narrows.load(entry.name)
        assert tokenizer.fingerprint == entry.fingerprint
        assert tokenizer.tables is not None
        assert (Path(folder.__file__).parent / entry.name / "README.md").exists()


@pytest.mark.parametrize("lambdas", [0.01, [0.01, "1"], [0], [float("nan")], [-1.0], [1e7]])
def test_wrong_lambdas_are_refused(image_checkpoint: Path, tmp_path: Path, lambdas: object) -> None:
    shutil.copytree(image_checkpoint, tmp_path / "model")
    edit_tokenizer(lambdas=lambdas)(tmp_path / "model")
    with pytest.raises(ModelError, match="image-tokenizer cannot be built"):
        narrows.load(tmp_path / "model")


def test_tables_of_other_weights_do_not_stay(saved: Path) -> None:
    again = folder.read(saved)
    assert again.tables is not None
    again.tables = None
    folder.save(saved, again)
    assert folder.read(saved).tables is None


def test_tables_of_another_codec_are_refused(saved: Path) -> None:
    other = FrequencyTables((integer_frequencies([1.0, 1.0]),))
    (saved / "tables.safetensors").write_bytes(save_arrays(other.to_arrays()))
    with pytest.raises(ModelError, match=r"expected alphabet sizes .* got \(2,\)"):
        folder.read(saved)


def test_networks_of_frequencies_are_for_audio(image_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(image_checkpoint, tmp_path / "model")
    predicted = MODELS_FOLDER / "speech" / "tables.safetensors"
    shutil.copy(predicted, tmp_path / "model")
    with pytest.raises(ModelError, match="expected fixed tables of image"):
        folder.read(tmp_path / "model")


@pytest.mark.parametrize("bad", [float("nan"), 1e6])
def test_weights_that_do_not_fit_half_precision_are_not_saved(saved: Path, tmp_path: Path, bad: float) -> None:
    tokenizer = folder.read(saved)
    tokenizer.codec.state_dict()["encoder.out.bias"][0] = bad
    with pytest.raises(InputError, match=r"finite as torch.float16, got NaN or infinity in encoder\.out\.bias"):
        folder.save(tmp_path / "new", tokenizer, torch.float16)
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


def test_a_device_is_chosen(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert narrows.load(saved, "auto").device.type in ("cpu", "cuda", "mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr("narrows.tokenizers.tokenizer.Tokenizer.runs_on", lambda tokenizer, device: False)
    assert narrows.load(saved, "auto").device.type == "cpu"
    with pytest.raises(InputError, match="expected an available device, got 'nowhere'"):
        narrows.load(saved, "nowhere")


def test_a_device_on_which_a_part_does_not_run_is_not_chosen(saved: Path) -> None:
    tokenizer = narrows.load(saved)
    assert tokenizer.runs_on("cpu")
    assert not tokenizer.runs_on("meta")  # whose results cannot be had
    assert not tokenizer.runs_on("nowhere")
    assert tokenizer.device.type == "cpu"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tables.safetensors"])
def test_a_pipe_is_not_read(saved: Path, name: str) -> None:
    (saved / name).unlink()
    os.mkfifo(saved / name)
    with pytest.raises(ModelError, match=rf"expected a file, got .*{name}, which is a folder, a pipe"):
        folder.read(saved)
