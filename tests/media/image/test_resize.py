import numpy as np
import pytest
from PIL import Image

from narrows.errors import InputError
from narrows.media.image.resize import Resize


def photo(height: int, width: int, channels: int = 3) -> np.ndarray:
    """A smooth picture."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    planes = [np.sin(6 * x + 9 * y + channel) * 100 + 128 for channel in range(channels)]
    return np.stack(planes).astype(np.uint8)


@pytest.mark.parametrize("size", [(100, 161), (161, 100), (48, 48), (20, 31)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_centre_is_that_of_resizing_the_shorter_side(size, channels) -> None:
    pixels = photo(*size, channels)
    found = Resize(40)(pixels)
    scale = 40 / min(size)
    height, width = round(size[0] * scale), round(size[1] * scale)
    image = Image.fromarray(pixels[0] if channels == 1 else pixels.transpose(1, 2, 0)).resize((width, height), 3)
    top, left = (height - 40) // 2, (width - 40) // 2
    expected = np.asarray(image).reshape(height, width, channels)[top : top + 40, left : left + 40].transpose(2, 0, 1)
    assert found.shape == (channels, 40, 40)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert np.abs(found.astype(int) - expected).mean() < 2.5


def test_both_sides_are_resized() -> None:
    pixels = photo(30, 90)
    found = Resize(20, "resize")(pixels)
    expected = np.asarray(Image.fromarray(pixels.transpose(1, 2, 0)).resize((20, 20), Image.Resampling.BICUBIC))
    assert np.array_equal(found, expected.transpose(2, 0, 1))


def test_details_are_averaged_and_not_picked() -> None:
    stripes = np.zeros((1, 64, 64), np.uint8)
    stripes[:, :, ::2] = 255
    assert np.abs(Resize(8)(stripes)[:, :, 1:-1].astype(int) - 128).max() <= 3


def test_a_size_that_fits_changes_nothing() -> None:
    pixels = photo(32, 32)
    assert np.array_equal(Resize(32)(pixels), pixels)
    assert np.array_equal(Resize(32)(photo(32, 40)), photo(32, 40)[:, :, 4:36])


def test_extreme_shapes_need_little_memory() -> None:
    assert Resize(256)(np.full((3, 1, 60_000), 7, np.uint8)).shape == (3, 256, 256)


@pytest.mark.parametrize("arguments", [(0,), (-1,), (1 << 15,), (2.5,), (True,), ("8",), (8, "fit")])
def test_other_sizes_and_crops_are_refused(arguments) -> None:
    with pytest.raises(InputError, match=r"expected a (size from 1 to 16384 pixels|crop of center, resize), got "):
        Resize(*arguments)
