import json
import shutil
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from narrows import checkpoints
from narrows.bitstream import AudioExtent, ImageExtent, read_header, write
from narrows.checkpoints.load import load
from narrows.media import image


@pytest.fixture(scope="session")
def model(image_checkpoint):
    return image_checkpoint


@pytest.fixture
def picture(place):
    """picture(name, shape) -> path of a file of noise, of the kind that the name says."""

    def written(name="a.png", shape=(40, 70, 3)):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.write(path, np.random.default_rng(0).integers(0, 256, shape, np.uint8))
        return path

    return written


@pytest.fixture
def coded(codec, model, picture):
    """coded(name, ...) -> path of an .nrw file of a picture of noise; options as those of `encode`."""

    def written(name="s.nrw", *options, shape=(40, 70, 3)):
        source = picture("noise.png", shape)
        result = codec("encode", source, "-m", model, "-o", name, *options)
        assert result.code == 0, result
        source.unlink()
        return source.with_name(name)

    return written


def bomb(side=100_000):
    """The bytes of a PNG that claims to be very large."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT"


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 3), (1, 300, 3), (33, 31, 1)])
def test_sizes_and_channels_come_back(codec, model, picture, shape):
    picture("a.png", shape)
    assert codec("encode", "a.png", "-m", model).code == 0
    result = codec("decode", "a.nrw", "-m", model, "-o", "b.png")
    assert (result.code, result.err) == (0, "")
    assert f"{shape[1]} × {shape[0]}" in result.out
    assert image.read("b.png").pixels.shape == shape


@pytest.mark.parametrize("suffix", sorted(image.SUFFIXES - {".gif"}))
def test_kinds_of_files_in_and_out(codec, model, picture, suffix):
    picture(f"a{suffix}")
    assert codec("encode", f"a{suffix}", "-m", model).code == 0
    assert codec("decode", "a.nrw", "-m", model, "-o", "b", "--format", suffix).code == 0
    assert image.probe(f"b/a{suffix}").pixels == 40 * 70


def test_16_bits_cmyk_and_the_first_of_several_pictures_are_coded(codec, model, place):
    grey = np.arange(800, dtype=np.uint16).reshape(20, 40) * 81
    Image.fromarray(grey).save("deep.png")
    Image.new("CMYK", (40, 20), (10, 200, 30, 40)).save("four.jpg")
    frames = [Image.new("RGB", (40, 20), (value, 0, 0)) for value in (0, 250)]
    frames[0].save("two.gif", save_all=True, append_images=frames[1:])
    result = codec("encode", "deep.png", "four.jpg", "two.gif", "-m", model)
    assert (result.code, result.out.count("\n")) == (0, 3)
    assert result.err == "codec: 'two.gif': holds several pictures; the first one is coded\n"
    assert codec("decode", "deep.nrw", "four.nrw", "two.nrw", "-m", model, "-o", "out").code == 0
    assert [image.read(f"out/{name}.png").pixels.shape for name in ("deep", "four", "two")] == [
        (c, 20, 40) for c in (1, 3, 3)
    ]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.png", b"", "is empty (0 bytes)"),
        ("a.png", b"not a picture\n" * 50, "is no picture"),
        ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no picture"),
        ("a.jpg", np.random.default_rng(0).bytes(3000), "is no picture"),
        ("a.png", bomb(), "at most 178956970"),
        ("a.png", bomb(13_000), "is damaged or cut short"),
    ],
    ids=["empty", "text", "postscript", "random", "bomb", "claim"],
)
def test_what_is_no_picture_is_refused(refused, model, place, little_memory, name, data, said):
    (place / name).write_bytes(data)
    line = refused("encode", name, "-m", model)
    assert repr(name) in line
    assert said in line


@pytest.mark.parametrize("suffix", sorted(image.SUFFIXES - {".gif"}))
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_picture_that_is_cut_is_refused(refused, model, picture, suffix, share):
    path = picture(f"a{suffix}")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert f"'a{suffix}' " in refused("encode", path.name, "-m", model)


def test_what_is_transparent_is_refused(refused, model):
    Image.new("RGBA", (9, 9), (1, 2, 3, 200)).save("glass.png")
    assert "transparent" in refused("encode", "glass.png", "-m", model)


def test_a_higher_quality_takes_more_bytes(codec, model, picture, place):
    picture()
    sizes = []
    for quality in (1, 2.5, 4, 8):
        result = codec("encode", "a.png", "-m", model, "-q", quality, "-o", "q.nrw", "--force")
        size = (place / "q.nrw").stat().st_size
        assert f"{size} bytes  {8 * size / 2800:.3f} bit/pixel" in result.out
        assert read_header((place / "q.nrw").read_bytes()).quality == quality
        sizes.append(size)
    assert sizes == sorted(set(sizes))
    codec("encode", "a.png", "-m", model)
    assert (place / "a.nrw").stat().st_size == sizes[2]


def test_bits_a_pixel_choose_the_best_quality_below(codec, refused, model, picture, place):
    picture(shape=(96, 96, 3))
    assert codec("encode", "a.png", "-m", model, "-q", 5).code == 0
    size = (place / "a.nrw").stat().st_size
    assert codec("encode", "a.png", "-m", model, "--bpp", 8 * size / 96**2, "--force").code == 0
    assert (place / "a.nrw").stat().st_size <= size
    assert read_header((place / "a.nrw").read_bytes()).quality >= 5
    for bpp in (0.0001, 0, -1, "nan"):
        assert "bits a pixel asked for" in refused("encode", "a.png", "-m", model, "--bpp", bpp, "--force")


@pytest.mark.parametrize("quality", [0, 0.9, 8.1, -3, "nan", "inf"])
def test_a_quality_out_of_range_is_refused(refused, model, picture, quality):
    picture()
    assert "1 to 8 wanted" in refused("encode", "a.png", "-m", model, "-q", quality)


def test_options_of_the_other_medium_are_refused(refused, model, tiny_checkpoint, picture, wav, coded):
    picture()
    wav()
    audio = tiny_checkpoint()
    for option in ("-q", "--bpp"):
        assert "tiny codes sound" in refused("encode", "a.wav", "-m", audio, option, 3)
    assert "small codes pictures" in refused("encode", "a.png", "-m", model, "--bitrate", 3)
    assert "one of the two" in refused("encode", "a.png", "-m", model, "--bpp", 1, "-q", 3)
    coded("s.nrw")
    assert "--salvage" in refused("decode", "s.nrw", "-m", model, "--salvage")
    assert "tables" in refused("encode", "a.png", "-m", model, "--raw")
    assert "cannot be decoded" in refused("encode", "a.png", "-m", audio)
    assert "no picture" in refused("encode", "a.wav", "-m", model)
    assert ".wav" in refused("decode", "s.nrw", "-m", model, "-o", "b.wav")


def test_a_folder_of_sounds_and_pictures(codec, model, tiny_checkpoint, picture, wav, place, monkeypatch):
    folders = {"image": model, "speech": tiny_checkpoint()}
    monkeypatch.setattr("narrows.checkpoints.load.load", lambda name, device: load(folders.get(name, name), device))
    picture("in/a.png")
    picture("in/deep/b.jpg")
    wav("in/c.wav")
    (place / "in" / "notes.txt").write_text("not a picture")
    (place / "in" / "d.png").write_text("not a picture")
    result = codec("encode", "in", "-o", "out")
    assert (result.code, result.out.count("\n")) == (2, 3)
    assert result.err.splitlines()[0].startswith("codec: 'in/d.png' is no picture")
    made = sorted(str(path.relative_to(place / "out")) for path in (place / "out").rglob("*.nrw"))
    assert made == ["a.nrw", "c.nrw", "deep/b.nrw"]
    assert codec("decode", "out/a.nrw", "out/deep/b.nrw", "-m", model).code == 0
    assert image.read("out/deep/b.png").pixels.shape == (3, 40, 70)


def test_two_runs_give_the_same_bytes(codec, model, picture, place):
    picture()
    for name in ("one", "two"):
        assert codec("encode", "a.png", "-m", model, "-o", f"{name}.nrw").code == 0
        assert codec("decode", f"{name}.nrw", "-m", model).code == 0
    assert (place / "one.nrw").read_bytes() == (place / "two.nrw").read_bytes()
    assert (place / "one.png").read_bytes() == (place / "two.png").read_bytes()


def test_a_result_that_cannot_be_written_is_refused(codec, refused, model, coded, place):
    path = coded()
    (place / "s.png").write_text("mine")
    assert "exists already; pass --force" in refused("decode", "s.nrw", "-m", model)
    assert codec("decode", "s.nrw", "-m", model, "--force").code == 0
    path.write_bytes(path.read_bytes()[:-1])
    for out in ("b.xyz", "b.gif"):  # told before the damage is found
        assert "pictures are written as" in refused("decode", "s.nrw", "-m", model, "-o", out)


def test_every_damaged_byte_is_told(refused, model, coded, monkeypatch):
    path, tokenizer = coded(shape=(24, 20, 3)), load(model)
    monkeypatch.setattr("narrows.checkpoints.load.load", lambda *_: tokenizer)
    data = path.read_bytes()
    for place in range(len(data)):
        for damaged in (data[:place], data[:place] + bytes([data[place] ^ 128]) + data[place + 1 :]):
            path.write_bytes(damaged)
            refused("decode", "s.nrw", "-m", model)


FALSE = {
    "larger": {"extent": ImageExtent(1000, 1000, 3)},
    "smaller": {"extent": ImageExtent(8, 8, 3)},
    "channels": {"extent": ImageExtent(40, 70, 2)},
    "setting": {"setting": 57},
    "bands": {"steps": 2},
    "signals": {"signals": 2},
    "codebooks": {"radices": ((4096,),) * 7},
    "more-codebooks": {"radices": ((4096,),) * 9},
    "alphabet": {"radices": ((256,),) * 8},
    "raw": {"setting": None, "tables_digest": None},
    "no-setting": {"setting": None},
    "medium": {"extent": AudioExtent(16_000, 500, 1), "grid": (4,), "setting": None},
    "huge": {"extent": ImageExtent(1 << 24, 1 << 22, 3), "grid": (1 << 20, 1 << 18), "steps": 8},
    "wide": {"extent": ImageExtent(32, 1 << 23, 3), "grid": (2, 1 << 19), "steps": 4},
    "tall": {"extent": ImageExtent(1 << 24, 16, 3), "grid": (1 << 20, 2), "steps": 64},
    "few-codebooks": {"radices": ((4096,),), "grid": (64, 1 << 18), "extent": ImageExtent(1024, 1 << 22, 3)},
}


@pytest.mark.parametrize("claim", FALSE)
def test_a_header_that_is_not_true_takes_no_memory(refused, model, coded, little_memory, claim):
    path = coded()
    data = path.read_bytes()
    header = read_header(data)
    body = data[len(header.to_bytes()) :]
    path.write_bytes(replace(header, **FALSE[claim]).to_bytes() + body)
    refused("decode", "s.nrw", "-m", model, advice=False)


@pytest.mark.parametrize("payload", [b"", b"\0\0\0\x01" * 2, b"\xff" * 40, bytes(range(1, 101))])
def test_bytes_that_no_encoder_wrote_are_told_or_decoded(codec, model, coded, payload):
    """With every checksum right: somebody made it so."""
    from narrows.bitstream.framing import Framing

    path = coded()
    header = read_header(path.read_bytes())
    path.write_bytes(header.to_bytes() + Framing(header).wrap(0, payload))
    result = codec("decode", "s.nrw", "-m", model)
    assert result.code in (0, 2)
    assert result.err.count("\n") == (result.code == 2), result.err


def test_a_stream_of_another_model_is_refused(refused, model, coded, place):
    other = shutil.copytree(model, place / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"name": "other"}))
    coded("s.nrw")
    assert "made with model small" in refused("decode", "s.nrw", "-m", other)
    bare = shutil.copytree(model, place / "bare")
    (bare / "tables.safetensors").unlink()
    assert "needs the tables" in refused("decode", "s.nrw", "-m", bare)


def test_a_whole_stream_of_other_codes_is_decoded_to_something(codec, model, coded):
    path = coded()
    header, tokenizer = read_header(path.read_bytes()), load(model)
    codes = np.random.default_rng(0).integers(0, 4096, header.shape, np.int16)
    path.write_bytes(write(header, codes, tokenizer.coding_tables))
    assert codec("decode", "s.nrw", "-m", model).code == 0
    assert image.read("s.png").pixels.shape == (3, 40, 70)


def test_info_tells_size_quality_and_bits_a_pixel(codec, coded):
    path = coded("s.nrw", "-q", 2.5)
    said = json.loads(codec("info", "s.nrw", "--json").out)
    size = path.stat().st_size
    assert (said["medium"], said["width"], said["height"], said["channels"]) == ("image", 70, 40, 3)
    assert (said["quality"], said["bytes"], said["coder"]) == (2.5, size, "chosen")
    assert said["bits_per_pixel"] == round(8 * size / 2800, 4)
    assert "quality          2.5\n" in codec("info", "s.nrw").out
    path.write_bytes(path.read_bytes()[:-1])
    assert codec("info", "s.nrw").err.count("\n") == 1


def test_info_tells_the_rates_of_the_shipped_model(codec):
    folder = Path(checkpoints.__file__).parent / "image"
    rates = json.loads(codec("info", folder, "--json").out)["bits_per_pixel"]
    assert [*rates] == [str(quality) for quality in range(1, 9)]
    assert sorted(rates.values()) == [*rates.values()]


def test_info_on_a_checkpoint(codec, refused, model, tiny_checkpoint, place):
    folder = shutil.copytree(model, place / "mine")
    said = json.loads(codec("info", "mine", "--json").out)
    assert (said["model"], said["medium"], said["settings"], said["quality"]) == ("small", "image", 57, [1, 8])
    assert said["parameters"] == sum(p.numel() for p in load(model).codec.parameters())
    assert said["bits_per_pixel"] is None
    points = [{"quality": 1, "bits_per_pixel": 0.2}, {"quality": 8, "bits_per_pixel": 2.5}, {"point": "jpeg"}]
    (folder / "evaluation.json").write_text(json.dumps({"points": points}))
    assert json.loads(codec("info", "mine", "--json").out)["bits_per_pixel"] == {"1": 0.2, "8": 2.5}
    for damaged in ("[1, 2", "[" * 100_000):
        (folder / "evaluation.json").write_text(damaged)
        assert "evaluation.json" in refused("info", "mine")
    (folder / "model.safetensors").write_bytes(b"")
    assert "model.safetensors" in refused("info", "mine")
    said = json.loads(codec("info", tiny_checkpoint(), "--json").out)
    assert (said["medium"], said["sample_rate"], len(said["kbit_per_second"])) == ("audio", 16_000, 3)
