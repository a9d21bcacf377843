"""Pillow's formats and single frames of video encoders, on a synthetic image of 160 × 192."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PILImage

from narrows.errors import InputError, MediaError
from narrows.evaluation.base import Unavailable
from narrows.evaluation.baselines import ffmpeg
from narrows.evaluation.baselines import image as image_baselines
from narrows.evaluation.baselines.image import IMAGE_FORMATS, ImageBaseline
from narrows.evaluation.baselines.intra import INTRA_ENCODERS, IntraBaseline
from narrows.media.image import Image
from narrows.media.table import MEDIA
from narrows.recipes.data.synthetic import write_synthetic_images

SETTINGS = {  # from worst to best
    "jpeg": (10, 50, 95),
    "jpeg-444": (10, 50, 95),
    "webp": (5, 50, 95),
    "avif": (10, 50, 90),
    "avif-444": (10, 50, 90),
    "jpeg2000": (25, 35, 45),
    "jpeg-xl": (10, 60, 95),
    "x264-intra": (45, 30, 15),
    "x265-intra": (45, 30, 15),
    "vp9-intra": (60, 40, 10),
}
BEST = {"x264-intra": 1, "x265-intra": 0, "vp9-intra": 0, "jpeg2000": 50, "jpeg-444": 100, "avif-444": 100}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "synthetic"
    write_synthetic_images(folder)
    return MEDIA["image"].read(folder / "waves-1.png")


def available(family, setting):
    baseline = (ImageBaseline if family in IMAGE_FORMATS else IntraBaseline)(family, setting)
    try:
        baseline.check()
    except Unavailable as missing:
        pytest.skip(str(missing))
    return baseline


def psnr(reference, decoded):
    return 10 * np.log10(255**2 / np.square(reference.pixels.astype(float) - decoded.pixels).mean())


def test_all_codecs_are_tested():
    assert set(SETTINGS) == {*IMAGE_FORMATS, *INTRA_ENCODERS}


@pytest.mark.parametrize("family", SETTINGS)
def test_rate_and_quality_increase_together(family, image, tmp_path):
    coded = [available(family, setting).round_trip(image, tmp_path) for setting in SETTINGS[family]]
    sizes = [result.file_bytes for result in coded]
    qualities = [psnr(image, result.signal) for result in coded]
    assert sizes == sorted(sizes)
    assert qualities == sorted(qualities)
    assert 22 < qualities[0] < qualities[2] - 4
    assert sizes[0] * 3 < sizes[2] < image.pixels.size
    for result in coded:
        assert result.signal.pixels.shape == image.pixels.shape
        assert result.codes is None
        assert (
            result.payload_bytes is None
            if family in IMAGE_FORMATS
            else 0 <= result.file_bytes - result.payload_bytes <= 44
        )


@pytest.mark.parametrize("family", BEST)
def test_best_setting_is_near_lossless(family, image, tmp_path):
    assert psnr(image, available(family, BEST[family]).round_trip(image, tmp_path).signal) > 45


@pytest.mark.parametrize("family", INTRA_ENCODERS)
def test_no_banner_is_in_the_stream(family, image, tmp_path):
    """x264 and x265 write a text of hundreds of bytes about themselves, which decoders do not need."""
    data = available(family, 50).encode(image, tmp_path).read_bytes()
    assert b"x26" not in data
    assert b"options" not in data


@pytest.mark.parametrize("family", SETTINGS)
@pytest.mark.parametrize("shape", [(17, 33), (64, 19)])
def test_odd_sizes(family, shape, tmp_path):
    grey = Image(np.full((3, *shape), 77, np.uint8))
    decoded = available(family, SETTINGS[family][2]).round_trip(grey, tmp_path).signal
    assert decoded.pixels.shape == (3, *shape)
    assert np.abs(decoded.pixels.astype(int) - 77).max() <= 3


def test_pure_colours_are_preserved(tmp_path):
    """A wrong matrix or range would shift pure colours."""
    pure = np.repeat([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]], 16, axis=0)
    image = Image(np.broadcast_to(pure, (16, 80, 3)).astype(np.uint8).transpose(2, 0, 1))
    for family in ("x264-intra", "x265-intra", "vp9-intra", "jpeg-444", "avif-444"):
        decoded = available(family, BEST[family]).round_trip(image, tmp_path).signal.pixels.astype(int)
        assert np.abs(decoded - image.pixels)[..., 8::16].max() <= 3


def test_jpeg_2000_decorrelates_colours(image, tmp_path):
    """Pillow does so only with an option; else a greyscale image takes three times the bytes."""
    grey = image.pixels[:1]
    size = available("jpeg2000", 35).round_trip(Image(grey.repeat(3, 0)), tmp_path).file_bytes
    PILImage.fromarray(grey[0]).save(tmp_path / "grey.jp2", quality_mode="dB", quality_layers=[35], irreversible=True)
    assert size < 1.3 * (tmp_path / "grey.jp2").stat().st_size


@pytest.mark.parametrize(("family", "setting"), [("jpeg", 0), ("jpeg", 101), ("x265-intra", 52), ("webp", 2.5)])
def test_settings(family, setting):
    with pytest.raises(InputError, match=f"expected integers .* for {family}"):
        available(family, setting)


def test_rejected_signals(tmp_path):
    wide = Image(np.zeros((3, 1, 20_000), np.uint8))
    with pytest.raises(MediaError, match="webp cannot encode this image"):
        available("webp", 50).encode(wide, tmp_path)
    with pytest.raises(MediaError, match=r"x265-intra cannot encode this image \(Invalid argument\)"):
        available("x265-intra", 30).encode(Image(np.zeros((3, 1, 1), np.uint8)), tmp_path)


def test_key():
    for family, setting in (("jpeg", 50), ("x265-intra", 30)):
        point = available(family, setting)
        assert str(setting) in str(point.key["options"])
        assert any(character.isdigit() for character in point.key["versions"])
        assert pickle.loads(pickle.dumps(point)) == point
    assert available("jpeg", 50).key != available("jpeg-444", 50).key


def test_missing_codecs(monkeypatch):
    monkeypatch.setattr(ffmpeg, "pyav_has_encoder", lambda encoder: False)
    with pytest.raises(Unavailable, match="no encoder libx265"):
        IntraBaseline("x265-intra", 30).check()

    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(image_baselines.importlib, "import_module", absent)
    with pytest.raises(Unavailable, match="no JXL here; pip install pillow-jxl-plugin"):
        ImageBaseline("jpeg-xl", 50).check()
    monkeypatch.setitem(IMAGE_FORMATS, "jpeg", replace(IMAGE_FORMATS["jpeg"], version=lambda: None))
    with pytest.raises(Unavailable, match="has no JPEG here"):
        ImageBaseline("jpeg", 50).check()
