import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from narrows.bitstream import AudioExtent, ImageExtent, read_header, write
from narrows.checkpoints.load import load
from narrows.media import image


def test_existing_outputs_and_unknown_suffixes_are_refused(codec, refused, image_checkpoint, image_stream, place):
    path = image_stream()
    (place / "s.png").write_text("mine")
    assert "exists already; pass --force" in refused("decode", "s.nrw", "-m", image_checkpoint)
    assert codec("decode", "s.nrw", "-m", image_checkpoint, "--force").code == 0
    path.write_bytes(path.read_bytes()[:-1])
    for out in ("b.xyz", "b.gif"):  # found before the damage is found
        assert "expected one of the suffixes" in refused("decode", "s.nrw", "-m", image_checkpoint, "-o", out)


def test_every_damaged_byte_is_detected(refused, image_checkpoint, image_stream, monkeypatch):
    path, tokenizer = image_stream(shape=(3, 24, 20)), load(image_checkpoint)
    monkeypatch.setattr("narrows.checkpoints.load.load", lambda *_: tokenizer)
    data = path.read_bytes()
    for place in range(len(data)):
        for damaged in (data[:place], data[:place] + bytes([data[place] ^ 128]) + data[place + 1 :]):
            path.write_bytes(damaged)
            refused("decode", "s.nrw", "-m", image_checkpoint)


FALSE = {
    "larger": {"extent": ImageExtent(1000, 1000, 3)},
    "smaller": {"extent": ImageExtent(8, 8, 3)},
    "channels": {"extent": ImageExtent(40, 70, 2)},
    "quality_index": {"quality_index": 57},
    "bands": {"steps": 2},
    "groups": {"groups": 2},
    "codebooks": {"radices": ((4096,),) * 7},
    "more-codebooks": {"radices": ((4096,),) * 9},
    "alphabet": {"radices": ((256,),) * 8},
    "raw": {"quality_index": None, "tables_digest": None},
    "no-quality-index": {"quality_index": None},
    "medium": {"extent": AudioExtent(16_000, 500, 1), "grid": (4,), "quality_index": None},
    "huge": {"extent": ImageExtent(1 << 24, 1 << 22, 3), "grid": (1 << 20, 1 << 18), "steps": 8},
    "wide": {"extent": ImageExtent(32, 1 << 23, 3), "grid": (2, 1 << 19), "steps": 4},
    "tall": {"extent": ImageExtent(1 << 24, 16, 3), "grid": (1 << 20, 2), "steps": 64},
    "few-codebooks": {"radices": ((4096,),), "grid": (64, 1 << 18), "extent": ImageExtent(1024, 1 << 22, 3)},
}


@pytest.mark.parametrize("claim", FALSE)
def test_false_headers_are_refused_without_allocating(refused, image_checkpoint, image_stream, little_memory, claim):
    path = image_stream()
    data = path.read_bytes()
    header = read_header(data)
    body = data[len(header.to_bytes()) :]
    path.write_bytes(replace(header, **FALSE[claim]).to_bytes() + body)
    refused("decode", "s.nrw", "-m", image_checkpoint, advice=False)


@pytest.mark.parametrize("payload", [b"", b"\0\0\0\x01" * 2, b"\xff" * 40, bytes(range(1, 101))])
def test_payloads_that_no_encoder_wrote_are_refused_or_decoded(codec, image_checkpoint, image_stream, payload):
    """Crafted, with valid checksums."""
    from narrows.bitstream.framing import Framing

    path = image_stream()
    header = read_header(path.read_bytes())
    path.write_bytes(header.to_bytes() + Framing(header).wrap(0, payload))
    result = codec("decode", "s.nrw", "-m", image_checkpoint)
    assert result.code in (0, 2)
    assert result.err.count("\n") == (result.code == 2), result.err


def test_a_stream_of_another_model_is_refused(refused, image_checkpoint, image_stream, place):
    other = shutil.copytree(image_checkpoint, place / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"name": "other"}))
    image_stream("s.nrw")
    assert "got data of small (" in refused("decode", "s.nrw", "-m", other)
    bare = shutil.copytree(image_checkpoint, place / "bare")
    (bare / "tables.safetensors").unlink()
    assert "expected the tables of model" in refused("decode", "s.nrw", "-m", bare)


def test_random_codes_are_decoded(codec, image_checkpoint, image_stream):
    path = image_stream()
    header, tokenizer = read_header(path.read_bytes()), load(image_checkpoint)
    codes = np.random.default_rng(0).integers(0, 4096, header.shape, np.int16)
    path.write_bytes(write(header, codes, tokenizer.coding_tables))
    assert codec("decode", "s.nrw", "-m", image_checkpoint).code == 0
    assert image.read("s.png").pixels.shape == (3, 40, 70)


def test_recover_puts_grey_in_place_of_damaged_rows(codec, refused, image_checkpoint, image_stream):
    path = image_stream("s.nrw", shape=(3, 1100, 20))
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    assert "--recover" in refused("decode", "s.nrw", "-m", image_checkpoint)
    result = codec("decode", "s.nrw", "-m", image_checkpoint, "--recover")
    assert (result.code, result.err) == (0, "codec: 's.nrw': damaged from row 1024 to 1100; replaced by grey\n")
    assert image.read("s.png").pixels.shape == (3, 1100, 20)


def test_recover_tells_of_bytes_behind_the_stream(codec, image_checkpoint, image_stream):
    path = image_stream("s.nrw")
    assert codec("decode", "s.nrw", "-m", image_checkpoint, "--recover").err == ""
    path.write_bytes(path.read_bytes() + bytes(7))
    result = codec("decode", "s.nrw", "-m", image_checkpoint, "--recover", "--force")
    assert (result.code, result.err) == (0, "codec: 's.nrw': 7 bytes that are no part of it are left out\n")
