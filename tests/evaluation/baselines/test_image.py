"""Pillow's formats and single frames of video encoders, against a made-up picture of 160 × 192."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from narrows.errors import InputError, MediaError
from narrows.evaluation.base import Picture, Unavailable
from narrows.evaluation.baselines import ffmpeg
from narrows.evaluation.baselines import image as image_peers
from narrows.evaluation.baselines.image import FORMATS, ImagePeer
from narrows.evaluation.baselines.intra import ENCODERS, IntraPeer
from narrows.evaluation.media import MEDIA
from narrows.recipes.data.synthetic import write_synthetic_images

SETTINGS = {  # from worst to best
    "jpeg": (10, 50, 95),
    "jpeg-444": (10, 50, 95),
    "webp": (5, 50, 95),
    "avif": (10, 50, 90),
    "avif-444": (10, 50, 90),
    "jpeg2000": (25, 35, 45),
    "jpeg-xl": (10, 60, 95),
    "x264": (45, 30, 15),
    "x265": (45, 30, 15),
    "vp9": (60, 40, 10),
}
BEST = {"x264": 1, "x265": 0, "vp9": 0, "jpeg2000": 50, "jpeg-444": 100, "avif-444": 100}


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    place = tmp_path_factory.mktemp("pictures") / "made"
    write_synthetic_images(place)
    return MEDIA["image"].read(place / "waves-1.png")


def here(family, setting):
    peer = (ImagePeer if family in FORMATS else IntraPeer)(family, setting)
    try:
        peer.check()
    except Unavailable as missing:
        pytest.skip(str(missing))
    return peer


def psnr(reference, decoded):
    return 10 * np.log10(255**2 / np.square(reference.pixels.astype(float) - decoded.pixels).mean())


def test_all_are_here():
    assert set(SETTINGS) == {*FORMATS, *ENCODERS}


@pytest.mark.parametrize("family", SETTINGS)
def test_rate_and_quality_rise_together(family, picture, tmp_path):
    coded = [here(family, setting).code(picture, tmp_path) for setting in SETTINGS[family]]
    sizes = [each.file_bytes for each in coded]
    qualities = [psnr(picture, each.signal) for each in coded]
    assert sizes == sorted(sizes)
    assert qualities == sorted(qualities)
    assert 22 < qualities[0] < qualities[2] - 4
    assert sizes[0] * 3 < sizes[2] < picture.pixels.size
    for each in coded:
        assert each.signal.pixels.shape == picture.pixels.shape
        assert each.codes is None
        assert each.payload_bytes is None if family in FORMATS else 0 <= each.file_bytes - each.payload_bytes <= 44


@pytest.mark.parametrize("family", BEST)
def test_nothing_but_the_codec_limits_quality(family, picture, tmp_path):
    assert psnr(picture, here(family, BEST[family]).code(picture, tmp_path).signal) > 45


@pytest.mark.parametrize("family", ENCODERS)
def test_no_banner_is_in_the_stream(family, picture, tmp_path):
    """x264 and x265 write a text about themselves of hundreds of bytes, which no decoder needs."""
    data = here(family, 50).encode(picture, tmp_path).read_bytes()
    assert b"x26" not in data
    assert b"options" not in data


@pytest.mark.parametrize("family", SETTINGS)
@pytest.mark.parametrize("shape", [(17, 33), (64, 19)])
def test_odd_sides(family, shape, tmp_path):
    grey = Picture(np.full((*shape, 3), 77, np.uint8))
    decoded = here(family, SETTINGS[family][2]).code(grey, tmp_path).signal
    assert decoded.pixels.shape == (*shape, 3)
    assert np.abs(decoded.pixels.astype(int) - 77).max() <= 3


def test_colours_are_kept(tmp_path):
    """Pure colours, which a wrong matrix or range would shift."""
    pure = np.repeat([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]], 16, axis=0)
    picture = Picture(np.broadcast_to(pure, (16, 80, 3)).astype(np.uint8))
    for family in ("x264", "x265", "vp9", "jpeg-444", "avif-444"):
        decoded = here(family, BEST[family]).code(picture, tmp_path).signal.pixels.astype(int)
        assert np.abs(decoded - picture.pixels)[:, 8::16].max() <= 3


def test_jpeg_2000_decorrelates_colours(picture, tmp_path):
    """Pillow does not unless told: then a grey picture takes three times the bytes."""
    grey = picture.pixels[..., :1]
    size = here("jpeg2000", 35).code(Picture(np.repeat(grey, 3, 2)), tmp_path).file_bytes
    Image.fromarray(grey[..., 0]).save(tmp_path / "grey.jp2", quality_mode="dB", quality_layers=[35], irreversible=True)
    assert size < 1.3 * (tmp_path / "grey.jp2").stat().st_size


@pytest.mark.parametrize(("family", "setting"), [("jpeg", 0), ("jpeg", 101), ("x265", 52), ("webp", 2.5)])
def test_settings(family, setting):
    with pytest.raises(InputError, match=f"{family} takes whole numbers"):
        here(family, setting)


def test_what_cannot_be_coded(tmp_path):
    wide = Picture(np.zeros((1, 20_000, 3), np.uint8))
    with pytest.raises(MediaError, match="webp cannot code this picture"):
        here("webp", 50).encode(wide, tmp_path)
    with pytest.raises(MediaError, match=r"x265 cannot code this picture \(Invalid argument\)"):
        here("x265", 30).encode(Picture(np.zeros((1, 1, 3), np.uint8)), tmp_path)


def test_the_key_tells_what_results_depend_on():
    for family, setting in (("jpeg", 50), ("x265", 30)):
        point = here(family, setting)
        assert str(setting) in str(point.key["options"])
        assert any(character.isdigit() for character in point.key["versions"])
        assert pickle.loads(pickle.dumps(point)) == point
    assert here("jpeg", 50).key != here("jpeg-444", 50).key


def test_what_is_missing(monkeypatch):
    monkeypatch.setattr(ffmpeg, "pyav_has", lambda encoder: False)
    with pytest.raises(Unavailable, match="no encoder libx265"):
        IntraPeer("x265", 30).check()

    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(image_peers.importlib, "import_module", absent)
    with pytest.raises(Unavailable, match="no JXL here; pip install pillow-jxl-plugin"):
        ImagePeer("jpeg-xl", 50).check()
    monkeypatch.setitem(FORMATS, "jpeg", replace(FORMATS["jpeg"], version=lambda: None))
    with pytest.raises(Unavailable, match="has no JPEG here"):
        ImagePeer("jpeg", 50).check()
