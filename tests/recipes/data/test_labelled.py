import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from narrows.errors import InputError
from narrows.recipes.data.labelled import LabelledBatches, LabelledImages, LabelledItems
from narrows.recipes.data.synthetic import write_labelled_images


def write(path: Path, value: int, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Seven images in folders of three classes; the grey level tells the class."""
    for name, value, count in (("dog", 30, 1), ("ant", 10, 4), ("bee", 20, 2)):
        for number in range(count):
            write(tmp_path / "pets" / name / f"{number}.png", value, (8 + number, 8))
    return tmp_path / "pets"


def test_labels_are_names_of_folders_sorted(pets: Path) -> None:
    images = LabelledImages(pets, 8)
    assert images.names == ("ant", "bee", "dog")
    assert len(images) == 7
    assert all(images[index].shape == (3, 8, 8) for index in range(7))
    assert [int(images[index][0, 0, 0]) // 10 - 1 for index in range(7)] == images.labels.tolist()
    assert sorted(images.labels.tolist()) == [0, 0, 0, 0, 1, 1, 2]


def test_labels_are_a_column_of_a_manifest(pets: Path) -> None:
    rows = [
        {"path": f"{name}/0.png", "label": label, "kind": kind}
        for name, label, kind in (("ant", 10, "x"), ("bee", 2, "y"), ("dog", 2, "x"))
    ]
    (pets / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    images = LabelledImages(pets / "list.jsonl", 8)
    assert (images.names, images.labels.tolist()) == (("10", "2"), [0, 1, 1])  # sorted by name
    images = LabelledImages(pets / "list.jsonl", 8, "kind")
    assert (images.names, images.labels.tolist()) == (("x", "y"), [0, 1, 0])
    images = LabelledImages(pets / "list.jsonl", 8, "other")  # there is none: the folders
    assert (images.names, images.labels.tolist()) == (("ant", "bee", "dog"), [0, 1, 2])


def test_validation_has_the_classes_of_training(pets: Path, tmp_path: Path) -> None:
    for name in ("dog", "bee"):
        write(tmp_path / "valid" / name / "a.png", 30)
    valid = LabelledImages(tmp_path / "valid", 8, names=("ant", "bee", "dog"))
    assert (valid.names, sorted(valid.labels.tolist())) == (("ant", "bee", "dog"), [1, 2])
    write(tmp_path / "valid" / "emu" / "a.png", 30)
    with pytest.raises(InputError, match=r"expected labels of the training images in .*, got 'emu'; remove"):
        LabelledImages(tmp_path / "valid", 8, names=("ant", "bee", "dog"))
    write(tmp_path / "flat" / "a.png", 30)
    with pytest.raises(InputError, match="expected items of several labels, got 'flat' for all"):
        LabelledImages(tmp_path / "flat", 8)


def test_draws_depend_on_seed_and_number_and_all_images_are_equally_probable(pets: Path) -> None:
    images = LabelledImages(pets, 8)
    draws, same, other = (LabelledBatches(images, 700, (seed,)) for seed in (0, 0, 1))
    drawn = [draws[index] for index in range(len(draws))]
    assert all(torch.equal(x, same[index][0]) for index, (x, _) in enumerate(drawn))
    labels = [label for _, label in drawn]
    assert labels != [other[index][1] for index in range(700)]
    assert all(x.shape == (3, 8, 8) and x.dtype == torch.float32 and x.abs().max() <= 1 for x, _ in drawn)
    counts = np.bincount(labels, minlength=3)
    np.testing.assert_allclose(counts, (400, 200, 100), atol=60)


def test_draws_can_be_of_some_classes_at_a_time(pets: Path) -> None:
    images = LabelledImages(pets, 8)
    draws = LabelledBatches(images, 60, (0,), lambda index: (1, 2) if index < 30 else (0,))
    labels = [draws[index][1] for index in range(60)]
    assert set(labels[:30]) == {1, 2}
    assert set(labels[30:]) == {0}


def test_what_cannot_be_read_is_left_out(pets: Path) -> None:
    images = LabelledImages(pets, 8)
    broken = next(index for index in range(7) if images.labels[index] == 1)
    images.path(broken).write_bytes(b"no image")
    images._cache.clear()
    assert len(list(LabelledItems(images))) == 6
    draws = LabelledBatches(images, 50, (0,), lambda _: (1,))
    assert {draws[index][1] for index in range(50)} == {1}


def test_synthetic_classes_are_folders(tmp_path: Path) -> None:
    write_labelled_images(tmp_path / "data", 11, 16)
    images = LabelledImages(tmp_path / "data", 16)
    assert (len(images), len(images.names)) == (22, 11)
    items = list(LabelledItems(images))
    assert sorted(label for _, label in items) == sorted([*range(11)] * 2)
