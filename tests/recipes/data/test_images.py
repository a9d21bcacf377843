from pathlib import Path

import numpy as np
import pytest
import torch

from narrows.errors import InputError
from narrows.recipes.data import images as module
from narrows.recipes.data.images import ImageCrops, ImageFiles
from narrows.recipes.data.synthetic import write_synthetic_images


@pytest.fixture
def images(tmp_path: Path) -> ImageFiles:
    write_synthetic_images(tmp_path / "data")
    return ImageFiles(tmp_path / "data")


def test_images_are_rgb_with_channels_first(images: ImageFiles, tmp_path: Path) -> None:
    from PIL import Image

    assert len(images) == 3
    assert images[0].shape == (3, 160, 192)
    assert images[0].dtype == np.uint8
    with Image.open(images.path(0)) as expected:
        np.testing.assert_array_equal(images[0], np.asarray(expected.convert("RGB")).transpose(2, 0, 1))
    (tmp_path / "grey").mkdir()
    Image.new("L", (8, 5), 7).save(tmp_path / "grey" / "a.png")
    np.testing.assert_array_equal(ImageFiles(tmp_path / "grey")[0], np.full((3, 5, 8), 7, np.uint8))


@pytest.mark.parametrize("size", [64, 200])
def test_crops_depend_on_seed_and_index_only(images: ImageFiles, size: int) -> None:
    crops, same, other = (ImageCrops(images, size, 20, seed) for seed in ((0, 1), (0, 1), (0, 2)))
    assert len(crops) == 20
    drawn = [crops[i] for i in range(20)]
    assert all(x.shape == (3, size, size) and x.abs().max() <= 1 and x.dtype == torch.float32 for x in drawn)
    assert all(torch.equal(x, same[i]) for i, x in enumerate(drawn))
    assert not all(torch.equal(x, other[i]) for i, x in enumerate(drawn))


def test_folder_without_images_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a folder or glob of images .*, got none"):
        ImageFiles(tmp_path)


def test_only_so_many_decoded_images_are_kept(images: ImageFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_BYTES", 2 * images[0].nbytes)
    crops = ImageCrops(images, 64, 30, (0,))
    drawn = [crops[index] for index in range(30)]
    assert sum(pixels.nbytes for pixels in images._cache.values()) <= 2 * images[0].nbytes
    assert all(torch.equal(crops[index], drawn[index]) for index in reversed(range(30)))


def test_broken_images_are_left_out(images: ImageFiles) -> None:
    images.path(1).write_bytes(images.path(1).read_bytes()[:3000])
    images._cache.clear()
    crops = ImageCrops(images, 64, 30, (0,))
    assert all(crops[index].shape == (3, 64, 64) for index in range(30))
    assert [index for index, _ in images.readable(range(3))] == [0, 2]
