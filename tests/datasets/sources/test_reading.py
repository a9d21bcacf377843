import io
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow
import pytest
import soundfile
from pyarrow import parquet

from narrows.datasets.sources import list_items, open_item
from narrows.errors import MediaError
from narrows.media import audio, image

COUNT = 30


def recording(index):
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(index).standard_normal(800), 8_000, format="FLAC")
    return file.getvalue()


def tar(path, items):
    with tarfile.open(path, "w") as made:
        for index, data in enumerate(items):
            info = tarfile.TarInfo(f"{index:02d}.flac")
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))


def table(path, items):
    parquet.write_table(pyarrow.table({"audio": pyarrow.array(items, pyarrow.binary())}), path, row_group_size=7)


@pytest.mark.parametrize(("name", "pack"), [("a.tar", tar), ("a.parquet", table)])
def test_items_are_read_by_any_number_of_threads(tmp_path, name, pack):
    items = [recording(index) for index in range(COUNT)]
    pack(tmp_path / name, items)
    found = list_items(str(tmp_path / name), "audio")
    with ThreadPoolExecutor(4) as threads:
        read = list(threads.map(lambda item: audio.read(open_item(item)).samples, found))
    for samples, data in zip(read, items, strict=True):
        (tmp_path / "one.flac").write_bytes(data)
        assert np.array_equal(samples, audio.read(tmp_path / "one.flac").samples)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "one.flac"]


@pytest.mark.parametrize(("name", "pack", "key"), [("a.tar", tar, "01"), ("a.parquet", table, "a/00000001")])
def test_bad_items_are_named_and_others_are_read(tmp_path, refusal, name, pack, key):
    pack(tmp_path / name, [recording(0), b"", recording(2), b"not audio" * 99])
    good, empty, another, bad = list_items(str(tmp_path / name), "audio")
    for item in (empty, bad):
        message = refusal(lambda one: audio.read(open_item(one)), item, error=MediaError)
        assert f"{name}: {item.key}'" in message
    assert empty.key == key
    assert audio.read(open_item(good)).samples.shape == audio.read(open_item(another)).samples.shape == (1, 800)


def test_images_in_tars(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 9, 8), np.uint8)
    image.write(tmp_path / "a.png", pixels)
    with tarfile.open(tmp_path / "a.tar", "w") as made:
        made.add(tmp_path / "a.png", "a.png")
    (item,) = list_items(str(tmp_path / "a.tar"), "image")
    assert np.array_equal(image.read(open_item(item)).pixels, pixels)


@pytest.mark.parametrize(("name", "pack"), [("a.tar", tar), ("a.parquet", table)])
def test_files_that_were_removed_are_named(tmp_path, refusal, name, pack):
    pack(tmp_path / name, [recording(0)])
    (item,) = list_items(str(tmp_path / name), "audio")
    (tmp_path / name).unlink()
    assert name in refusal(open_item, item, error=MediaError)
