import errno
import os
import resource
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from narrows.bitstream import AudioExtent, FrequencyTables, ImageExtent, read_header, write
from narrows.checkpoints.index import ShippedModel
from narrows.checkpoints.load import load
from narrows.errors import NarrowsError


@pytest.fixture(scope="module")
def others(tiny_checkpoint):
    return {"model other": tiny_checkpoint("other"), "weights": tiny_checkpoint("tiny", seed=1)}


def crafted(source, codes=None, tables=None, **changes):
    """The bytes of a raw stream with the header of another and whatever it is to claim, checksums right."""
    header = replace(read_header(source.read_bytes()), **{"tables_digest": None} | changes)
    return header.to_bytes() if codes is None else write(header, np.full(header.shape, codes), tables)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty (0 bytes)"),
        (b"\x8e", "the stream ends after 1 bytes"),
        (b"not a stream\n", "expected an .nrw stream"),
        (bytes(5000), "expected an .nrw stream"),
        (b"\x8eNRW", "the stream ends inside the header"),
        (b"\x8eNRW\x05later", "got version 5"),
        (b"\x8eNRW\x00", "got version 0"),
        (b"\x8eNRW\x02" + b"\xff" * 500, "damaged"),
        (b"\x8eNRW\x02" + bytes(500), "damaged"),
    ],
)
@pytest.mark.parametrize("verb", ["decode", "info"])
def test_files_that_are_not_streams_are_refused(refused, model, place, verb, data, message):
    (place / "s.nrw").write_bytes(data)
    line = refused(verb, "s.nrw", *(["-m", model] if verb == "decode" else []))
    assert message in line
    assert verb == "info" or "'s.nrw'" in line


def test_audio_files_are_not_streams(refused, model, wav):
    wav("a.wav")
    line = refused("decode", "a.wav", "-m", model, "-o", "b.wav")
    assert "'a.wav': expected an .nrw stream, which begins with 8e 4e 52 57, got 52 49 46 46" in line


def test_large_files_that_are_not_streams_are_not_read(refused, model, place, little_memory):
    with (place / "s.nrw").open("wb") as file:
        file.truncate(1 << 40)
    assert "expected an .nrw stream" in refused("decode", "s.nrw", "-m", model)
    assert "expected an .nrw stream" in refused("info", "s.nrw")


@pytest.fixture(scope="module")
def tokenizer(model):
    return load(model)


@pytest.mark.parametrize("options", [(), ("--raw",)])
def test_every_truncation_and_bit_flip_is_detected(stream, tokenizer, options):
    data = stream("s.nrw", *options, samples=3_000, channels=2).read_bytes()
    for length in range(len(data)):
        with pytest.raises(NarrowsError):
            tokenizer.decompress(data[:length])
    for place in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(NarrowsError):
            tokenizer.decompress(bytes(damaged))


def cut(data):
    return data[:-1]


def flip(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def flip_header(data):
    return data[:20] + bytes([data[20] ^ 128]) + data[21:]


def append(data):
    return data + b"more"


def repeat(data):
    return data + data


@pytest.mark.parametrize("damage", [cut, flip, flip_header, append, repeat])
@pytest.mark.parametrize("options", [(), ("--raw",)])
def test_a_damaged_stream_is_refused(refused, model, stream, options, damage):
    path = stream("s.nrw", *options)
    path.write_bytes(damage(path.read_bytes()))
    line = refused("decode", "s.nrw", "-m", model)
    assert "'s.nrw'" in line
    assert refused("info", "s.nrw", out=None)
    assert refused("info", "s.nrw", "--json", out=None)


def test_recover_decodes_the_undamaged_chunks(codec, refused, model, stream):
    path = stream("s.nrw", "--raw", samples=480_000)  # 30 s, two chunks
    assert codec("decode", "s.nrw", "-m", model, "-o", "whole.wav").code == 0
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refused("decode", "s.nrw", "-m", model)
    result = codec("decode", "s.nrw", "-m", model, "--recover")
    assert result.code == 0
    assert result.err == "codec: 's.nrw': damaged from 20.00 to 30.00 s; replaced by silence\n"
    x, whole = soundfile.read("s.wav")[0], soundfile.read("whole.wav")[0]
    assert len(x) == 480_000
    assert np.array_equal(x[:300_000], whole[:300_000])
    assert not np.array_equal(x, whole)


@pytest.mark.parametrize("which", ["model other", "weights"])
def test_another_model_is_refused(refused, others, stream, which):
    stream("s.nrw")
    line = refused("decode", "s.nrw", "-m", others[which])
    assert "got data of tiny (" in line
    assert "load other weights (-m FOLDER" in line or "load that model (-m FOLDER" in line


@pytest.mark.parametrize("name", ["owner/name", ".", "..", "model", "https://example.com", "~"])
def test_streams_cannot_name_folders_or_downloads(refused, stream, place, monkeypatch, name):
    (place / "model").mkdir()
    path = stream("s.nrw")
    path.write_bytes(crafted(path, codes=0, model=name))
    monkeypatch.setattr("narrows.checkpoints.load.load", None)
    line = refused("decode", "s.nrw")
    assert f"'s.nrw': expected a model of this package, got {name!r}" in line
    assert "-m" in line


def test_streams_can_name_shipped_models(codec, model, stream, monkeypatch):
    known = [ShippedModel("tiny", "audio", "", "", load(model).fingerprint, {})]
    monkeypatch.setattr("narrows.checkpoints.index.models", lambda: known)
    monkeypatch.setattr("narrows.checkpoints.load.models", lambda: known)
    monkeypatch.setattr("narrows.checkpoints.load.MODELS_FOLDER", model.parent)
    stream("s.nrw")
    assert codec("decode", "s.nrw").code == 0


CLAIMS = {
    "chunks": {"grid": (1 << 40,), "steps": 1 << 10},
    "one-chunk": {"grid": (1 << 18,), "steps": 1 << 18},
    "codebooks": {"radices": ((16,),) * 1024},
    "samples": {"extent": AudioExtent(16_000, 1 << 48, 1)},
    "all": {"extent": AudioExtent(16_000, 320 << 38, 1), "grid": (1 << 38,), "steps": 1 << 18},
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_claimed_sizes_are_not_allocated(refused, model, stream, little_memory, claim):
    path = stream("s.nrw")
    path.write_bytes(crafted(path, **CLAIMS[claim]))
    refused("decode", "s.nrw", "-m", model)
    refused("info", "s.nrw", out=None)


FALSE = {
    "rate-too-low": {"extent": AudioExtent(1, 1, 1)},
    "rate-too-high": {"extent": AudioExtent(2**31 - 1, 42_000_000, 1)},
    "rate-a-bomb": {"extent": AudioExtent(2**31 - 1, 500 * 42_949_672, 1), "grid": (500,), "steps": 500},
    "samples-too-few": {"extent": AudioExtent(16_000, 1, 1)},
    "samples-too-many": {"extent": AudioExtent(16_000, 1 << 48, 1)},
    "channels": {"extent": AudioExtent(16_000, 500, 2)},
    "channels-too-many": {"extent": AudioExtent(16_000, 500, 255), "groups": 255},
    "medium": {"extent": ImageExtent(1, 2, 3), "grid": (1, 2)},
    "codebooks-too-many": {"radices": ((16,),) * 4},
    "codebooks-too-large": {"radices": ((16,), (4096,), (16,))},
}


@pytest.mark.parametrize("claim", FALSE)
def test_valid_streams_that_do_not_fit_the_model_are_refused(refused, model, stream, little_memory, claim):
    path = stream("s.nrw")
    codes = 15 if "too-large" not in claim else np.array([[[1], [4000], [1]]])
    path.write_bytes(crafted(path, codes=codes, **FALSE[claim]))
    refused("decode", "s.nrw", "-m", model, advice=False)  # crafted, with valid checksums


def test_other_tables_of_the_same_weights_are_refused(refused, model, stream):
    path = stream("s.nrw")
    tables = FrequencyTables.from_counts([np.arange(16)] * 3)
    header = replace(read_header(path.read_bytes()), tables_digest=tables.digest[:4])
    path.write_bytes(write(header, np.zeros(header.shape, np.int64), tables))
    assert "expected the tables" in refused("decode", "s.nrw", "-m", model)


def test_a_model_that_cannot_be_loaded_is_reported_once(refused, stream):
    stream("a.nrw")
    stream("b.nrw")
    refused("decode", "a.nrw", "b.nrw", "-m", "./nowhere")


@pytest.mark.parametrize("format", ["wav", ".wav", "WAV", "flac", "ogg", "opus", "mp3"])
def test_formats(codec, model, stream, place, format):
    stream("s.nrw", samples=5_000)
    assert codec("decode", "s.nrw", "-m", model, "--format", format).code == 0
    result = next(place.glob("s.[!n]*"))
    assert result.suffix == "." + format.removeprefix(".")
    assert soundfile.info(result).frames == 5_000


@pytest.mark.parametrize(
    ("options", "format", "message"),
    [
        ({}, "nonsense", "expected one of the suffixes .wav"),
        ({}, "", "expected one of the suffixes .wav"),
        ({}, "nrw", "would replace the input"),
        ({"rate": 44_100}, "opus", "expected a sample rate of 8000, 12000"),
        ({"rate": 384_000}, "ogg", "200000"),
        ({"channels": 3}, "mp3", "at most 2 channels"),
        ({"channels": 9}, "flac", "at most 8 channels"),
    ],
)
def test_signals_that_a_format_cannot_hold_are_refused(refused, model, stream, options, format, message):
    stream("s.nrw", **options)
    assert message in refused("decode", "s.nrw", "-m", model, "--format", format)


def test_existing_outputs_are_only_replaced_by_force(codec, refused, model, stream, place):
    stream("s.nrw")
    (place / "s.wav").write_text("mine")
    assert "'s.wav' exists already; pass --force" in refused("decode", "s.nrw", "-m", model)
    assert codec("decode", "s.nrw", "-m", model, "--force").code == 0
    assert soundfile.info("s.wav").frames == 500


@pytest.mark.parametrize("out", ["s.nrw/b.wav", "/proc/b.wav", "/proc/b/c", "/dev/null", "n" * 300 + ".wav"])
def test_outputs_that_cannot_be_written_are_refused(refused, model, stream, out):
    stream("s.nrw")
    refused("decode", "s.nrw", "-m", model, "-o", out)


@pytest.mark.parametrize("bytes", [0, 100, 10_000])
def test_file_size_limits_leave_no_output(refused, model, stream, bytes):
    stream("s.nrw", samples=20_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes, limits[1]))
    try:
        assert "could not be written to its end" in refused("decode", "s.nrw", "-m", model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_leaves_no_output(refused, model, stream, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    stream("s.nrw")
    monkeypatch.setattr(os, "fsync", full)
    assert "(no space left on device)" in refused("decode", "s.nrw", "-m", model)


def test_read_errors_name_the_file(refused, model, stream, monkeypatch):
    class Failing:
        def __enter__(self):
            raise OSError(errno.EIO, "Input/output error; call for help")

        def __exit__(self, *_):
            pass

    stream("s.nrw")
    monkeypatch.setattr("narrows.cli.files.open_input", lambda path: Failing())
    assert "'s.nrw': [Errno 5]" in refused("decode", "s.nrw", "-m", model)


def test_a_part_is_decoded(codec, refused, model, wav):
    wav(samples=48_000)
    codec("encode", "a.wav", "-m", model)
    codec("decode", "a.nrw", "-m", model, "-o", "whole.wav")
    result = codec("decode", "a.nrw", "-m", model, "-o", "part.wav", "--from", "0.5", "--to", "1.25")
    assert (result.code, result.err) == (0, "")
    assert "0.75 s" in result.out
    whole, part = soundfile.read("whole.wav")[0], soundfile.read("part.wav")[0]
    assert len(part) == 12_000
    assert abs(part - whole[8_000:20_000]).max() <= 2**-15
    line = refused("decode", "a.nrw", "-m", model, "-o", "b.wav", "--from", "2", "--to", "9")
    assert "expected a part of 0 to 3 s of at least a sample, got 2 to 9 s" in line
