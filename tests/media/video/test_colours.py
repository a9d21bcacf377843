import numpy as np
import pytest

from narrows.media import video

KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
NAMES = {1: "bt709", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 40), (13, 90, 201)]


def components(rgb, matrix, full, bits=8):
    """Y, Cb and Cr of a colour as integers. Source: ITU-R BT.709, section 3, and BT.601, section 2.5."""
    kr, kb = KR_KB[matrix]
    red, green, blue = np.array(rgb) / 255
    y = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = np.array([(blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)])
    scale, top = 2 ** (bits - 8), 2**bits - 1
    values = (
        [top * y, *(128 * scale + top * chroma)] if full else [scale * (16 + 219 * y), *(scale * (128 + 224 * chroma))]
    )
    return [int(value) for value in np.clip(np.rint(values), 0, top)]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", KR_KB)
def test_the_matrix_and_the_range_of_the_file(tmp_path, encode, matrix, full):
    path = tmp_path / "a.mkv"
    frames = [components(colour, matrix, full) for colour in COLOURS]
    encode(path, frames, pixel_format="yuv444p", matrix=matrix, full=2 if full else 1)
    info = video.probe(path)
    assert (info.matrix, info.matrix_stated, info.full_range) == (NAMES[matrix], True, full)
    for frame, colour in zip(video.frames(path), COLOURS, strict=True):
        assert abs(frame.pixels.astype(int) - np.array(colour)[:, None, None]).max() <= 2
    assert info.warnings == ()


@pytest.mark.parametrize(("size", "matrix"), [((32, 48), 5), ((2, 1280), 1), ((578, 2), 1)])
def test_an_unstated_matrix_is_that_of_the_size(tmp_path, encode, size, matrix):
    path = tmp_path / "a.mkv"
    encode(path, [components((200, 120, 40), matrix, False)], size)
    info = video.probe(path)
    assert (info.matrix, info.matrix_stated) == (NAMES[matrix], False)
    (frame,) = video.frames(path)
    assert abs(frame.pixels.astype(int) - np.array((200, 120, 40))[:, None, None]).max() <= 2


def test_ten_bits_are_rounded(tmp_path, encode):
    path = tmp_path / "a.mkv"
    levels = [64 + 876 * level // 255 + add for level in (0, 77, 255) for add in (0, 1, 2, 3) if level + add < 256]
    encode(path, [(level, 512, 512) for level in levels], pixel_format="yuv420p10le", matrix=1, full=1)
    info = video.probe(path)
    assert (info.bits, info.pixel_format) == (10, "yuv420p10le")
    assert info.warnings == ("its 10 bits per sample are rounded to 8",)
    for frame, level in zip(video.frames(path), levels, strict=True):
        assert abs(frame.pixels - (level - 64) / 876 * 255).max() <= 0.51 + 0.1
        assert len(np.unique(frame.pixels)) == 1  # no dithering


@pytest.mark.parametrize(("curve", "name"), [(16, "HDR (PQ)"), (18, "HDR (HLG)"), (8, "linear light")])
def test_other_curves_are_named(tmp_path, encode, curve, name):
    encode(tmp_path / "a.mkv", [(100, 128, 128)], matrix=9, full=1, curve=curve, primaries=9)
    assert video.probe(tmp_path / "a.mkv").warnings == (
        f"its levels are {name} and are kept without tone mapping",
        "its primary colours are BT.2020 and are kept as those of BT.709",
    )


def test_transparency_is_dropped_and_named(tmp_path, encode):
    encode(tmp_path / "a.mkv", [(100,)], codec="png", pixel_format="rgba", container="mov")
    (frame,) = video.frames(tmp_path / "a.mkv")
    assert (frame.pixels == 100).all()
    info = video.probe(tmp_path / "a.mkv")
    assert info.alpha
    assert len(info.warnings) == 1
    assert "transparency is dropped" in info.warnings[0]


def test_grey_and_rgb(tmp_path, encode):
    encode(tmp_path / "grey.mkv", [(100,)], pixel_format="gray")
    (frame,) = video.frames(tmp_path / "grey.mkv")
    assert (frame.pixels == 100).all()
    lossless = {"codec": "libvpx-vp9", "options": {"lossless": "1"}}
    encode(tmp_path / "rgb.mkv", [(10, 200, 90)], pixel_format="gbrp", matrix=0, **lossless)
    (frame,) = video.frames(tmp_path / "rgb.mkv")
    assert frame.pixels[:, 3, 3].tolist() == [90, 10, 200]
    assert video.probe(tmp_path / "rgb.mkv").matrix == "rgb"


def test_a_matrix_without_a_known_conversion_is_refused(tmp_path, encode, error_message):
    encode(tmp_path / "a.mkv", [(100, 128, 128)], codec="libx264", matrix=8)
    assert "YCgCo" in error_message(video.probe, tmp_path / "a.mkv")


def test_chroma_of_half_the_size_is_interpolated(tmp_path, encode):
    """A ramp of chroma stays a ramp, without steps of two pixels."""
    ramp = np.tile(np.arange(24) * 4 + 80, (16, 1))
    encode(tmp_path / "a.mkv", [(np.full((32, 48), 120), np.full((16, 24), 128), ramp)], matrix=1, full=1)
    (frame,) = video.frames(tmp_path / "a.mkv")
    steps = np.diff(frame.pixels[0, 16, 8:40].astype(int))
    assert steps.min() >= 2
    assert steps.max() - steps.min() <= 3
