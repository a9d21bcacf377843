import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from narrows.bitstream import read_header
from narrows.checkpoints.load import load
from narrows.media import image


def bomb(side=100_000):
    """The bytes of a PNG that claims to be very large."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT"


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (3, 1, 300), (1, 33, 31)])
def test_sizes_and_channels_are_kept(codec, image_checkpoint, image_file, shape):
    image_file("a.png", shape)
    assert codec("encode", "a.png", "-m", image_checkpoint).code == 0
    result = codec("decode", "a.nrw", "-m", image_checkpoint, "-o", "b.png")
    assert (result.code, result.err) == (0, "")
    assert f"{shape[2]} × {shape[1]}" in result.out
    assert image.read("b.png").pixels.shape == shape


@pytest.mark.parametrize("suffix", sorted(image.WRITTEN_SUFFIXES))
def test_formats_in_and_out(codec, image_checkpoint, image_file, suffix):
    image_file(f"a{suffix}")
    assert codec("encode", f"a{suffix}", "-m", image_checkpoint).code == 0
    assert codec("decode", "a.nrw", "-m", image_checkpoint, "-o", "b", "--format", suffix).code == 0
    assert image.probe(f"b/a{suffix}").pixels == 40 * 70


def test_16_bits_cmyk_and_the_first_of_several_images(codec, image_checkpoint, place):
    grey = np.arange(800, dtype=np.uint16).reshape(20, 40) * 81
    Image.fromarray(grey).save("deep.png")
    Image.new("CMYK", (40, 20), (10, 200, 30, 40)).save("four.jpg")
    frames = [Image.new("RGB", (40, 20), (value, 0, 0)) for value in (0, 250)]
    frames[0].save("two.gif", save_all=True, append_images=frames[1:])
    result = codec("encode", "deep.png", "four.jpg", "two.gif", "-m", image_checkpoint)
    assert (result.code, result.out.count("\n")) == (0, 3)
    assert result.err == "codec: 'two.gif': holds several images; only the first is encoded\n"
    assert codec("decode", "deep.nrw", "four.nrw", "two.nrw", "-m", image_checkpoint, "-o", "out").code == 0
    assert [image.read(f"out/{name}.png").pixels.shape for name in ("deep", "four", "two")] == [
        (c, 20, 40) for c in (1, 3, 3)
    ]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.png", b"", "is empty (0 bytes)"),
        ("a.png", b"not an image\n" * 50, "expected an image"),
        ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "expected an image"),
        ("a.jpg", np.random.default_rng(0).bytes(3000), "expected an image"),
        ("a.png", bomb(), "178956970 pixels"),
        ("a.png", bomb(13_000), "is damaged or cut short"),
    ],
    ids=["empty", "text", "postscript", "random", "bomb", "claim"],
)
def test_files_that_are_not_images_are_refused(refused, image_checkpoint, place, little_memory, name, data, message):
    (place / name).write_bytes(data)
    line = refused("encode", name, "-m", image_checkpoint)
    assert repr(name) in line
    assert message in line


@pytest.mark.parametrize("suffix", sorted(image.WRITTEN_SUFFIXES))
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_truncated_images_are_refused(refused, image_checkpoint, image_file, suffix, fraction):
    path = image_file(f"a{suffix}")
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
    assert f"'a{suffix}'" in refused("encode", path.name, "-m", image_checkpoint)


def glass() -> Image.Image:
    """An image with an alpha plane."""
    source = Image.new("RGBA", (40, 20), (200, 100, 50, 255))
    source.putalpha(Image.linear_gradient("L").resize((40, 20)))
    return source


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff", ".avif"])
def test_alpha_comes_back(codec, image_checkpoint, place, suffix):
    glass().save("glass.png")
    assert codec("encode", "glass.png", "-m", image_checkpoint).code == 0
    assert codec("decode", "glass.nrw", "-m", image_checkpoint, "-o", f"b{suffix}").code == 0
    found = image.read(f"b{suffix}")
    difference = abs(found.alpha.astype(int) - np.asarray(glass().getchannel("A"))).max()
    assert difference <= (5 if suffix == ".avif" else 0)
    assert "alpha: " in codec("info", "glass.nrw").out


def test_opaque_alpha_costs_nothing(codec, image_checkpoint, place):
    glass().convert("RGB").save("a.png")
    glass().convert("RGB").convert("RGBA").save("b.png")
    assert codec("encode", "a.png", "b.png", "-m", image_checkpoint).code == 0
    assert (place / "a.nrw").read_bytes() == (place / "b.nrw").read_bytes()


def test_formats_without_alpha_need_a_background(codec, refused, image_checkpoint):
    glass().save("glass.png")
    assert codec("encode", "glass.png", "-m", image_checkpoint).code == 0
    for suffix in (".jpg", ".bmp"):
        line = refused("decode", "glass.nrw", "-m", image_checkpoint, "-o", f"b{suffix}")
        assert "--background" in line
        assert "white" not in line
        result = codec("decode", "glass.nrw", "-m", image_checkpoint, "-o", f"b{suffix}", "--background", "#0a141e")
        assert (result.code, result.err) == (0, "")
        assert abs(image.read(f"b{suffix}").pixels[:, 0, 0].astype(int) - [10, 20, 30]).max() < 12


def test_a_background_flattens_before_encoding(codec, refused, image_checkpoint, place):
    glass().save("glass.png")
    Image.alpha_composite(Image.new("RGBA", (40, 20), "navy"), glass()).convert("RGB").save("flat.png")
    assert codec("encode", "glass.png", "-m", image_checkpoint, "--background", "navy").code == 0
    assert codec("encode", "flat.png", "-m", image_checkpoint).code == 0
    assert read_header((place / "glass.nrw").read_bytes()).attachments == ()
    decoded = [codec("decode", f"{name}.nrw", "-m", image_checkpoint).code for name in ("glass", "flat")]
    assert decoded == [2, 2]  # the inputs are in the way
    for option in ("no colour", "#12", "#00000080"):
        line = refused("encode", "glass.png", "-m", image_checkpoint, "--background", option, "--force")
        assert "colour" in line


def test_bits_per_pixel_count_the_alpha_plane(codec, refused, image_checkpoint, place):
    glass().save("glass.png")
    assert codec("encode", "glass.png", "-m", image_checkpoint, "--bpp", 4).code == 0
    assert 8 * (place / "glass.nrw").stat().st_size <= 4 * 40 * 20
    attached = dict(read_header((place / "glass.nrw").read_bytes()).attachments)["alpha"]
    limit = 8 * attached / (40 * 20)
    assert "bits per pixel" in refused("encode", "glass.png", "-m", image_checkpoint, "--bpp", limit, "--force")


def test_a_damaged_alpha_plane(codec, refused, image_checkpoint, place):
    glass().save("glass.png")
    assert codec("encode", "glass.png", "-m", image_checkpoint).code == 0
    data = bytearray((place / "glass.nrw").read_bytes())
    header = read_header(bytes(data))
    data[len(header.to_bytes()) + 10] ^= 1
    (place / "glass.nrw").write_bytes(data)
    assert "--recover" in refused("decode", "glass.nrw", "-m", image_checkpoint, "-o", "b.png")
    result = codec("decode", "glass.nrw", "-m", image_checkpoint, "-o", "b.png", "--recover")
    assert (result.code, result.err) == (0, "codec: 'glass.nrw': its transparency is damaged and left out\n")
    assert image.read("b.png").alpha is None
    damaged = codec("info", "glass.nrw")
    assert damaged.code == 2
    assert "alpha" in damaged.err


def test_a_higher_quality_takes_more_bytes(codec, image_checkpoint, image_file, place):
    image_file()
    sizes = []
    for quality in (1, 2.5, 4, 8):
        result = codec("encode", "a.png", "-m", image_checkpoint, "-q", quality, "-o", "q.nrw", "--force")
        size = (place / "q.nrw").stat().st_size
        assert f"{size} bytes  {8 * size / 2800:.3g} bits per pixel" in result.out
        assert read_header((place / "q.nrw").read_bytes()).quality == quality
        sizes.append(size)
    assert sizes == sorted(set(sizes))
    codec("encode", "a.png", "-m", image_checkpoint)
    assert (place / "a.nrw").stat().st_size == sizes[2]


def test_bits_per_pixel_choose_the_best_quality_below(codec, refused, image_checkpoint, image_file, place):
    image_file(shape=(3, 96, 96))
    assert codec("encode", "a.png", "-m", image_checkpoint, "-q", 5).code == 0
    size = (place / "a.nrw").stat().st_size
    assert codec("encode", "a.png", "-m", image_checkpoint, "--bpp", 8 * size / 96**2, "--force").code == 0
    assert (place / "a.nrw").stat().st_size <= size
    assert read_header((place / "a.nrw").read_bytes()).quality >= 5
    for bpp in (0.0001, 0, -1, "nan"):
        assert "bits per pixel" in refused("encode", "a.png", "-m", image_checkpoint, "--bpp", bpp, "--force")


@pytest.mark.parametrize("quality", [0, 0.9, 8.1, -3, "nan", "inf"])
def test_a_quality_out_of_range_is_refused(refused, image_checkpoint, image_file, quality):
    image_file()
    assert "expected a quality from 1" in refused("encode", "a.png", "-m", image_checkpoint, "-q", quality)


def test_options_of_the_other_medium_are_refused(
    codec, refused, image_checkpoint, tiny_checkpoint, image_file, wav, image_stream
):
    image_file()
    wav()
    audio = tiny_checkpoint()
    for option in ("-q", "--bpp"):
        assert "expected settings of tiny (codebooks, bitrate), got" in refused(
            "encode", "a.wav", "-m", audio, option, 3
        )
    assert "expected settings of small (quality, bits_per_pixel), got bitrate=3" in refused(
        "encode", "a.png", "-m", image_checkpoint, "--bitrate", 3
    )
    assert "got both" in refused("encode", "a.png", "-m", image_checkpoint, "--bpp", 1, "-q", 3)
    image_stream("s.nrw")
    for command in (("encode", "a.wav", "-m", audio), ("decode", "w.nrw", "-m", audio)):
        if command[0] == "decode":
            assert codec("encode", "a.wav", "-m", audio, "-o", "w.nrw").code == 0
        assert "background" in refused(*command, "--background", "white")
    assert "tables" in refused("encode", "a.png", "-m", image_checkpoint, "--raw")
    assert "cannot be decoded" in refused("encode", "a.png", "-m", audio)
    assert "expected an image" in refused("encode", "a.wav", "-m", image_checkpoint)
    assert ".wav" in refused("decode", "s.nrw", "-m", image_checkpoint, "-o", "b.wav")


def test_a_folder_of_recordings_and_images(
    codec, image_checkpoint, tiny_checkpoint, image_file, wav, place, monkeypatch
):
    folders = {"image": image_checkpoint, "speech": tiny_checkpoint()}
    monkeypatch.setattr("narrows.checkpoints.load.load", lambda name, device: load(folders.get(name, name), device))
    image_file("in/a.png")
    image_file("in/deep/b.jpg")
    wav("in/c.wav")
    (place / "in" / "notes.txt").write_text("not an image")
    (place / "in" / "d.png").write_text("not an image")
    result = codec("encode", "in", "-o", "out")
    assert (result.code, result.out.count("\n")) == (2, 3)
    assert result.err.splitlines()[-1].endswith("; skipped 1 file that is no audio, image or video: .txt 1")
    assert result.err.splitlines()[0].startswith("codec: expected an image")
    made = sorted(str(path.relative_to(place / "out")) for path in (place / "out").rglob("*.nrw"))
    assert made == ["a.nrw", "c.nrw", "deep/b.nrw"]
    assert codec("decode", "out/a.nrw", "out/deep/b.nrw", "-m", image_checkpoint).code == 0
    assert image.read("out/deep/b.png").pixels.shape == (3, 40, 70)


def test_two_runs_give_the_same_bytes(codec, image_checkpoint, image_file, place):
    image_file()
    for name in ("one", "two"):
        assert codec("encode", "a.png", "-m", image_checkpoint, "-o", f"{name}.nrw").code == 0
        assert codec("decode", f"{name}.nrw", "-m", image_checkpoint).code == 0
    assert (place / "one.nrw").read_bytes() == (place / "two.nrw").read_bytes()
    assert (place / "one.png").read_bytes() == (place / "two.png").read_bytes()
