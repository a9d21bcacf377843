import errno
import json
import math
import os
import resource
import shutil
import struct

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file, save_file

from narrows.bitstream import read_header
from narrows.checkpoints.index import ShippedModel
from narrows.checkpoints.load import load


def header(claimed, data=bytes(2000)):
    shape = struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    riff = b"RIFF" + struct.pack("<I", min(claimed + 36, 2**32 - 1)) + b"WAVEfmt " + shape
    return riff + b"data" + struct.pack("<I", claimed) + data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty (0 bytes)"),
        (header(0, b""), "holds no samples"),
        (b"not audio\n" * 50, "cannot be decoded"),
        (np.random.default_rng(0).bytes(3000), "cannot be decoded"),
        (header(2000)[:30], "cannot be decoded"),
        (header(2000)[:1000], "is cut: expected 2044 bytes by its header, got 1000"),
        (header(4_000_000_000), "is cut: expected 4000000044 bytes by its header, got 2044"),
    ],
    ids=["empty", "no-samples", "text", "random", "half-a-header", "cut", "claims-4-GB"],
)
def test_files_that_are_not_audio_are_refused(refused, model, place, little_memory, data, message):
    (place / "a.wav").write_bytes(data)
    line = refused("encode", "a.wav", "-m", model)
    assert "'a.wav'" in line
    assert message in line


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity"), (1e300, "infinity")]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_first_sample_that_is_not_finite_is_named(refused, model, wav, value, message, channels):
    wav(samples=9_000, channels=channels, bad=[(8_000, 0, np.nan), (7_777, channels - 1, value)])
    assert f"got {message} at sample 7777 of channel {channels - 1}" in refused("encode", "a.wav", "-m", model)


@pytest.mark.parametrize("rate", [1, 999, 384_001, 400_000])
def test_rates_out_of_range_are_refused(refused, model, wav, rate):
    wav(rate=rate)
    assert f"expected a sample rate from 1000 to 384000 Hz, got {rate} Hz" in refused("encode", "a.wav", "-m", model)


def test_more_than_64_channels_are_refused(refused, model, wav):
    wav(channels=65)
    assert "expected 1 to 64 channels, got 65" in refused("encode", "a.wav", "-m", model)


@pytest.mark.parametrize(
    ("samples", "channels", "rate"),
    [
        (1, 1, 16_000),
        (1, 1, 1_000),
        (1, 64, 384_000),
        (1, 1, 384_000),
        (319, 1, 16_000),
        (321, 2, 16_000),
        (1_001, 8, 16_000),
        (501, 64, 16_000),
        (1_234, 1, 1_000),
        (4_567, 1, 11_025),
        (12_345, 2, 44_100),
        (23_456, 1, 96_000),
        (98_765, 1, 384_000),
        (170_001, 1, 16_000),  # more than one window
    ],
)
def test_length_rate_and_channels_are_kept(codec, model, wav, samples, channels, rate):
    wav(samples=samples, channels=channels, rate=rate)
    assert codec("encode", "a.wav", "-m", model).code == 0
    assert codec("decode", "a.nrw", "-m", model, "-o", "b.wav").code == 0
    found = soundfile.info("b.wav")
    assert (found.frames, found.channels, found.samplerate) == (samples, channels, rate)


@pytest.mark.parametrize("loudest", [1e-45, 16])
def test_samples_up_to_16_times_full_scale_are_accepted(codec, model, wav, loudest):
    wav(bad=[(100, 0, loudest), (101, 0, -loudest)])
    assert codec("encode", "a.wav", "-m", model).err == ""
    assert codec("decode", "a.nrw", "-m", model, "-o", "b.wav").err == ""


@pytest.mark.parametrize("loudest", [16.1, 1e10, 1e19, 3e38])
def test_samples_far_above_full_scale_are_refused(refused, model, wav, loudest, place):
    wav(bad=[(101, 0, -loudest)])
    line = refused("encode", "a.wav", "-m", model)
    assert "expected samples up to 16, where full scale is 1" in line
    assert "at sample 101 of channel 0 (both counted from 0) in 'a.wav'" in line
    assert not (place / "a.nrw").exists()


def test_two_runs_give_the_same_bytes(codec, model, wav, place):
    wav(samples=30_000, channels=2)
    for result in ("one", "two"):
        assert codec("encode", "a.wav", "-m", model, "-o", f"{result}.nrw").code == 0
        assert codec("decode", f"{result}.nrw", "-m", model).code == 0
    assert (place / "one.nrw").read_bytes() == (place / "two.nrw").read_bytes()
    assert (place / "one.wav").read_bytes() == (place / "two.wav").read_bytes()


def test_wav_files_written_to_a_pipe_are_accepted(codec, model, place):
    (place / "a.wav").write_bytes(header(0xFFFFFFFF))
    assert codec("encode", "a.wav", "-m", model).code == 0
    assert read_header((place / "a.nrw").read_bytes()).extent.samples == 1000


@pytest.mark.parametrize(("options", "note"), [({"rate": 48_000}, "keeps up to 8 kHz"), ({"channels": 2}, "phases")])
def test_losses_are_reported(codec, model, wav, options, note):
    wav(**options)
    result = codec("encode", "a.wav", "-m", model)
    assert (result.code, result.err.count("\n")) == (0, 1)
    assert result.err.startswith("codec: 'a.wav': ")
    assert note in result.err


def test_output_line(codec, model, wav, place):
    wav(samples=16_000)
    out = codec("encode", "a.wav", "-m", model).out
    size = (place / "a.nrw").stat().st_size
    assert out.startswith(f"a.wav → a.nrw  1.00 s  {size} bytes  {8 * size / 1000:.3g} kbit/s  ")


@pytest.mark.parametrize(("bitrate", "codebooks"), [(0.2, 1), (0.39, 1), (0.41, 2), (0.6, 3), ("inf", 3), (1e9, 3)])
def test_a_bitrate_chooses_codebooks(codec, model, wav, place, bitrate, codebooks):
    wav()
    assert codec("encode", "a.wav", "-m", model, "--raw", "--bitrate", bitrate).code == 0
    assert len(read_header((place / "a.nrw").read_bytes()).radices) == codebooks


def test_entropy_coding_allows_more_codebooks(codec, model, wav, place):
    wav()
    bitrate = load(model).bitrate(3) + 1e-6
    assert bitrate < 0.59
    for options, codebooks in (([], 3), (["--raw"], 2)):
        assert codec("encode", "a.wav", "-m", model, "--bitrate", bitrate, "--force", *options).code == 0
        assert len(read_header((place / "a.nrw").read_bytes()).radices) == codebooks


@pytest.mark.parametrize("bitrate", [0.01, 0, -1, "nan"])
def test_too_low_bitrates_are_refused_with_the_lowest(refused, model, wav, bitrate):
    wav()
    lowest = f"{math.ceil(100 * load(model).bitrate(1)) / 100:.2f}"
    assert f"at least {lowest} kbit/s for tiny, got" in refused("encode", "a.wav", "-m", model, "--bitrate", bitrate)
    line = refused("encode", "a.wav", "-m", model, "--bitrate", bitrate, "--raw")
    assert "at least 0.20 kbit/s for tiny" in line


def test_raw_needs_no_tables(codec, model, wav, place):
    bare = shutil.copytree(model, place / "bare")
    (bare / "tables.safetensors").unlink()
    wav()
    assert codec("encode", "a.wav", "-m", model, "--raw", "-o", "raw.nrw").code == 0
    assert codec("encode", "a.wav", "-m", bare, "-o", "bare.nrw").code == 0
    assert (place / "raw.nrw").read_bytes() == (place / "bare.nrw").read_bytes()
    assert codec("decode", "raw.nrw", "-m", bare).code == 0


def test_an_entropy_coded_stream_needs_the_tables(refused, model, stream, place):
    bare = shutil.copytree(model, place / "bare")
    (bare / "tables.safetensors").unlink()
    stream("s.nrw")
    assert "expected the tables of model" in refused("decode", "s.nrw", "-m", bare)


@pytest.mark.parametrize("device", ["nonsense", "cuda", "cuda:99", "meta", "", "cpu:x"])
@pytest.mark.parametrize("verb", ["encode", "decode"])
def test_unavailable_devices_are_refused(refused, model, wav, stream, monkeypatch, verb, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    source = wav() if verb == "encode" else stream("s.nrw")
    assert f"{device!r}" in refused(verb, source, "-m", model, "--device", device)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("speach", "did you mean 'speech'?"),
        ("nothing like it", "got 'nothing like it'; `codec models --all`"),
        ("a.wav", "expected weights in a file .safetensors,"),
        ("", ""),
        ("./no/such", "got './no/such'"),
        ("m" * 300, "mmm"),
    ],
)
def test_an_unknown_model_is_refused(refused, wav, monkeypatch, given, message):
    known = [ShippedModel("speech", "audio", "", "", "", {})]
    monkeypatch.setattr("narrows.checkpoints.load.models", lambda: known)
    wav()
    assert message in refused("encode", "a.wav", "-m", given)


@pytest.mark.parametrize("reason", [OSError("no route\nto host"), TimeoutError(), ValueError("odd name")])
def test_hub_errors_are_reported(refused, wav, monkeypatch, reason):
    from huggingface_hub.errors import HFValidationError

    def download(*arguments, **options):
        raise reason if isinstance(reason, OSError) else HFValidationError(str(reason))

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    wav()
    assert "no folder 'owner/name', and the hub" in refused("encode", "a.wav", "-m", "owner/name")


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tokenizer(folder, **changes):
    tokenizer = json.loads((folder / "config.json").read_text())["tokenizer"]
    edit_config(folder, tokenizer=tokenizer | changes)


def edit_encoder(folder, **changes):
    codec = json.loads((folder / "config.json").read_text())["tokenizer"]["codec"]
    edit_tokenizer(folder, codec=codec | {"encoder": codec["encoder"] | changes})


def edit_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


BIAS = "decoder.out.bias"
BROKEN = {
    "no-config": (lambda path: (path / "config.json").unlink(), "config.json"),
    "no-weights": (lambda path: (path / "model.safetensors").unlink(), "model.safetensors"),
    "no-json": (lambda path: (path / "config.json").write_text('{"format": 1,'), "config.json"),
    "no-text": (lambda path: (path / "config.json").write_bytes(b"\xff\xfe\0"), "config.json"),
    "a-list": (lambda path: (path / "config.json").write_text("[]"), "config.json"),
    "deep": (lambda path: (path / "config.json").write_text("[" * 100_000), "config.json"),
    "huge": (lambda path: (path / "config.json").write_text(" " * (1 << 21)), "config.json"),
    "newer": (lambda path: edit_config(path, format=99), "of format 2, got 99"),
    "lacks-name": (lambda path: edit_config(path, name=None), "'name'"),
    "other-medium": (lambda path: edit_tokenizer(path, part="image-tokenizer"), "image-tokenizer"),
    "no-rate": (lambda path: edit_tokenizer(path, sample_rate=0), "sample rate"),
    "negative-rate": (lambda path: edit_tokenizer(path, sample_rate=-16_000), "sample rate"),
    "unknown-part": (lambda path: edit_encoder(path, part="frame-encodr"), "did you mean 'frame-encoder'"),
    "import-path": (lambda path: edit_encoder(path, part="os.system"), "expected a registered part, got 'os.system'"),
    "unknown-key": (lambda path: edit_encoder(path, widht=16), "did you mean 'width'"),
    "text-for-a-number": (lambda path: edit_encoder(path, width="wide"), "config.json"),
    "other-dim": (lambda path: edit_encoder(path, dim=9), "expected parts of one latent dim"),
    "too-wide": (lambda path: edit_encoder(path, width=2**40), "config.json"),
    "missing": (lambda path: edit_weights(path, lambda weights: weights.pop(BIAS)), f"expected the tensor {BIAS}"),
    "unexpected": (lambda path: edit_weights(path, lambda w: w.update(more=w[BIAS])), "got 'more' in"),
    "wrong-shape": (lambda path: edit_weights(path, lambda w: w.update({BIAS: w[BIAS][1:]})), f"{BIAS} of shape"),
    "weights-cut": (lambda path: os.truncate(path / "model.safetensors", 5000), "model.safetensors"),
    "weights-empty": (lambda path: os.truncate(path / "model.safetensors", 0), "model.safetensors"),
    "no-numbers": (lambda path: edit_weights(path, lambda w: w["encoder.out.bias"].fill(np.nan)), ""),
    "tables-cut": (lambda path: os.truncate(path / "tables.safetensors", 50), "tables.safetensors"),
    "other-tables": (lambda path: shutil.copy(path / "model.safetensors", path / "tables.safetensors"), "tables"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_model_is_refused(refused, model, wav, place, little_memory, fault):
    break_it, message = BROKEN[fault]
    break_it(shutil.copytree(model, place / "broken"))
    wav()
    assert message in refused("encode", "a.wav", "-m", "broken")


def test_existing_outputs_are_only_replaced_by_force(codec, refused, model, wav, place):
    wav()
    (place / "a.nrw").write_text("mine")
    assert "'a.nrw' exists already; pass --force" in refused("encode", "a.wav", "-m", model)
    assert codec("encode", "a.wav", "-m", model, "--force").code == 0
    assert read_header((place / "a.nrw").read_bytes()).model == "tiny"


@pytest.mark.parametrize(
    "out", ["a.wav/b.nrw", "a.wav/b", "/proc/b.nrw", "/proc/b/c", "/dev/null", "file", "n" * 300 + ".nrw"]
)
def test_outputs_that_cannot_be_written_are_refused(refused, model, wav, place, out):
    wav()
    (place / "file").touch()
    refused("encode", "a.wav", "-m", model, "-o", out)


def test_missing_permissions_are_reported(refused, model, wav, place):
    wav("closed.wav").chmod(0)
    wav("folder/a.wav")
    (place / "folder").chmod(0o500)
    if os.access("closed.wav", os.R_OK):
        pytest.skip("permissions do not stop this user: root")
    assert "may not be read" in refused("encode", "closed.wav", "-m", model)
    assert "is closed to this user" in refused("encode", "folder/a.wav", "-m", model)


@pytest.mark.parametrize("name", ["fsync", "link"])
def test_a_full_disk_leaves_no_output(refused, model, wav, monkeypatch, name):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    wav()
    monkeypatch.setattr(os, name, full)
    if name == "link":  # no hard links here: then a rename does it, which is what has to fail
        monkeypatch.setattr(os, "replace", full)
    assert "could not be written to its end (no space left on device)" in refused("encode", "a.wav", "-m", model)


def test_file_size_limits_leave_no_output(refused, model, wav):
    wav()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
    try:
        assert "could not be written to its end" in refused("encode", "a.wav", "-m", model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_an_empty_model_name_is_refused(refused, place):
    soundfile.write("a.wav", np.zeros(1600), 16_000)
    assert "expected a model name, folder or hub repository, got ''" in refused("encode", "a.wav", "-m", "")
    assert not (place / "a.nrw").exists()
