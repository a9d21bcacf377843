"""Images of Pillow in memory are converted as files are."""

import io

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageCms, ImageOps

from narrows.errors import MediaError
from narrows.media import image

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 14, 4), np.uint8)
RGBA = PILImage.fromarray(PIXELS)
MODES = [
    "1",
    "L",
    "LA",
    "P",
    "RGB",
    "RGBA",
    "CMYK",
    "YCbCr",
    "HSV",
    "LAB",
    "I",
    "F",
    "I;16",
    "La",
    "RGBa",
    "PA",
    "RGBX",
]


def of_mode(mode: str) -> PILImage.Image:
    if mode == "La":
        return RGBA.convert("LA").convert("La")
    if mode in ("I;16", "I", "F"):
        return PILImage.fromarray(PIXELS[..., 0].astype(np.uint16) * 257).convert(mode)
    if mode == "LAB":
        rgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(RGBA.convert("RGB"), rgb, lab, outputMode="LAB")
    if mode == "PA":
        paletted = PILImage.new("PA", RGBA.size)
        paletted.putpalette(bytes(range(256)) * 3)
        return paletted
    return RGBA.convert(mode)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode(mode: str) -> None:
    picture = of_mode(mode)
    before = picture.tobytes()
    found = image.from_pil(picture)
    assert found.pixels.shape == (1 if mode in ("1", "L", "LA", "La", "I", "F", "I;16") else 3, 9, 14)
    assert picture.tobytes() == before
    assert picture.mode == mode
    if mode in ("LA", "RGBA", "RGBa", "La"):
        assert found.alpha is not None
        assert np.array_equal(found.alpha, PIXELS[..., 3])
    if mode in ("RGB", "RGBA", "RGBX"):
        assert np.array_equal(found.pixels.transpose(1, 2, 0), PIXELS[..., :3])
    if mode in ("I", "F", "I;16"):
        assert np.array_equal(found.pixels[0], PIXELS[..., 0])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_an_image_in_memory_equals_its_file(mode: str) -> None:
    file, picture = io.BytesIO(), of_mode(mode)
    picture.save(file, "TIFF" if mode == "CMYK" else "PNG")
    expected, found = image.read(file.getvalue()), image.from_pil(picture)
    assert np.array_equal(found.pixels, expected.pixels)
    assert np.array_equal(found.alpha, expected.alpha)
    opened = image.from_pil(PILImage.open(io.BytesIO(file.getvalue())))
    assert np.array_equal(opened.pixels, expected.pixels)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_transparent_colours(mode: str) -> None:
    file = io.BytesIO()
    picture = of_mode(mode)
    key = (1, 2, 3) if mode == "RGB" else 0
    picture.putpixel((3, 4), key)
    picture.save(file, "PNG", transparency=key)
    opened = image.from_pil(PILImage.open(io.BytesIO(file.getvalue())))
    assert np.array_equal(opened.alpha, image.read(file.getvalue()).alpha)
    assert opened.alpha is not None


def test_orientation_and_profile() -> None:
    exif, file = PILImage.Exif(), io.BytesIO()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    RGBA.convert("RGB").save(file, "JPEG", exif=exif, icc_profile=profile.tobytes())
    expected = image.read(file.getvalue())
    opened = PILImage.open(io.BytesIO(file.getvalue()))
    assert expected.pixels.shape == (3, 14, 9)
    assert np.array_equal(image.from_pil(opened).pixels, expected.pixels)
    upright = ImageOps.exif_transpose(opened)
    assert np.array_equal(image.from_pil(upright).pixels, expected.pixels)
    assert image.from_pil(opened.resize((30, 20))).pixels.shape == (3, 30, 20)


def test_as_pil_is_the_inverse() -> None:
    for mode in ("L", "LA", "RGB", "RGBA"):
        signal = image.from_pil(RGBA.convert(mode))
        assert signal.as_pil().mode == mode
        assert signal.as_pil().tobytes() == RGBA.convert(mode).tobytes()


def test_images_that_cannot_be_decoded() -> None:
    file = io.BytesIO()
    PILImage.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99), np.uint8)).save(file, "PNG")
    cut = PILImage.open(io.BytesIO(file.getvalue()[:2000]))
    with pytest.raises(MediaError, match="'the given image' is damaged or cut short"):
        image.from_pil(cut)
    with pytest.raises(MediaError, match="'the given image': expected numbers from 0 to 1, got NaN"):
        image.from_pil(PILImage.fromarray(np.full((3, 4), np.nan, np.float32)))
