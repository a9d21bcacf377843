import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import ipc, parquet

from narrows.codecs import distributed as ranks
from narrows.errors import InputError, MediaError
from narrows.media import audio
from narrows.media.files import Source
from narrows.recipes.data import listing as module
from narrows.recipes.data.audio import AudioCrops, AudioFiles
from narrows.recipes.data.listing import Listing
from narrows.recipes.data.loading import crop_loader
from narrows.recipes.settings import AudioData

RATE = 8000
LENGTHS = (1000, 2000, 3000, 4000)  # samples of the recordings; the sample values of each are about its number


def seconds(source: Source) -> float:
    return audio.probe(source).seconds


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings "0.wav", "1.wav", ... of constant values 0.1, 0.2, ..."""
    (tmp_path / "data").mkdir()
    for number, samples in enumerate(LENGTHS):
        values = np.full((1, samples), (number + 1) / 10, np.float32)
        audio.write(tmp_path / "data" / f"{number}.wav", values, RATE)
    return tmp_path / "data"


def as_manifest(folder: Path, out: Path) -> Path:
    rows = [{"path": str(path), "text": "words"} for path in sorted(folder.iterdir())]
    (out / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return out / "list.jsonl"


def as_tar(folder: Path, out: Path) -> Path:
    with tarfile.open(out / "a.tar", "w") as tar:
        for path in sorted(folder.iterdir()):
            info = tarfile.TarInfo(path.name)
            info.size = path.stat().st_size
            tar.addfile(info, io.BytesIO(path.read_bytes()))
    return out / "a.tar"


def table_of(folder: Path) -> pyarrow.Table:
    return pyarrow.table({"audio": [path.read_bytes() for path in sorted(folder.iterdir())]})


def write_parquet(table: pyarrow.Table, path: Path, rows: int) -> None:
    """A table whose groups have about the sizes of the values in them."""
    parquet.write_table(table, path, row_group_size=rows, use_dictionary=False, write_statistics=False)


def as_parquet(folder: Path, out: Path) -> Path:
    write_parquet(table_of(folder), out / "a.parquet", 2)
    return out / "a.parquet"


def as_saved_dataset(folder: Path, out: Path) -> Path:
    (out / "saved").mkdir()
    table = table_of(folder)
    with ipc.new_stream(out / "saved" / "data-00000-of-00001.arrow", table.schema) as stream:
        stream.write_table(table, max_chunksize=3)
    return out / "saved"


@pytest.mark.parametrize("store", [as_manifest, as_tar, as_parquet, as_saved_dataset])
def test_crops_of_every_kind_of_source(store, folder: Path, tmp_path: Path) -> None:
    files = AudioFiles(store(folder, tmp_path), RATE)
    assert [float(files[index].max()) for index in range(4)] == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=1e-3)
    assert [files[index].shape for index in range(4)] == [(1, samples) for samples in LENGTHS]
    crops, again = (AudioCrops(files, 500, 20, (0,)) for _ in range(2))
    drawn = [crops[index] for index in range(20)]
    assert all(crop.shape == (1, 500) and crop.abs().min() > 0 for crop in drawn)
    assert all((again[index] == drawn[index]).all() for index in reversed(range(20)))


def test_several_sources_of_different_kinds(folder: Path, tmp_path: Path) -> None:
    files = AudioFiles((folder, str(as_tar(folder, tmp_path)), as_parquet(folder, tmp_path)), RATE)
    assert len(files) == 12
    assert files.found()["items"] == 12
    drawn = Counter(files.listing.draw(np.random.default_rng(seed), (seed,)) // 4 for seed in range(300))
    assert all(60 < drawn[source] < 140 for source in range(3))


@pytest.mark.parametrize("store", [lambda folder, out: folder, as_tar, as_parquet])
def test_items_are_drawn_in_proportion_to_their_length(store, folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "STRETCH_BYTES", 5000)
    found = Listing([str(store(folder, tmp_path))], audio.MEDIUM, seconds)
    count = Counter(found.draw(np.random.default_rng(seed), (1, seed)) for seed in range(4000))
    frequencies = [count[index] / 4000 for index in range(4)]
    # all rows of a group of two have the same probability
    expected = [0.15, 0.15, 0.35, 0.35] if store is as_parquet else [0.1, 0.2, 0.3, 0.4]
    np.testing.assert_allclose(frequencies, expected, atol=0.03)


def test_rows_of_one_turn_are_from_a_few_stretches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRETCH_BYTES", 1000)
    path = tmp_path / "a.parquet"
    write_parquet(pyarrow.table({"audio": [bytes(90)] * 200}), path, 100)
    found = Listing([str(path)], audio.MEDIUM, seconds)
    assert sum(len(found.stretch(index)) > 5 for index in range(200)) > 180
    turns = []
    for turn in range(20):
        drawn = [found.draw(np.random.default_rng((turn, index)), (turn,)) for index in range(50)]
        turns.append({found.stretch(index).start for index in drawn})
        assert all(index in found.stretch(index) for index in drawn)
    assert all(len(stretches) <= module.STRETCHES for stretches in turns)
    assert len(set.union(*turns)) > 10


def test_only_a_sample_is_opened(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for index in range(200):
        (tmp_path / "many" / f"{index}.wav").hardlink_to(folder / "0.wav")
    opened = []

    def counted(source: Source) -> float:
        opened.append(source)
        return seconds(source)

    found = Listing([str(tmp_path / "many")], audio.MEDIUM, counted)
    assert (len(found), len(opened)) == (200, 32)
    assert found[3].location.path == str(tmp_path / "many" / "100.wav")


def test_sources_are_listed_whatever_their_names_and_whether_they_exist(tmp_path: Path) -> None:
    (tmp_path / "Ä\udcff.wav").write_bytes(b"no audio")
    (tmp_path / "list.csv").write_text("path\nmissing.wav\nmissing.wav\n")
    assert Listing([str(tmp_path)], audio.MEDIUM, seconds)[0].location.path == str(tmp_path / "Ä\udcff.wav")
    assert len(Listing([str(tmp_path / "list.csv")], audio.MEDIUM, seconds)) == 2
    with pytest.raises(InputError, match="there is no file, folder or match of"):
        Listing([str(tmp_path / "nowhere")], audio.MEDIUM, seconds)


def test_the_digest_tells_other_files_and_sizes_apart(folder: Path) -> None:
    def digest() -> str:
        return Listing([str(folder)], audio.MEDIUM, seconds).digest

    before = digest()
    assert digest() == before
    (folder / "0.wav").write_bytes((folder / "0.wav").read_bytes() + b"more")
    changed = digest()
    (folder / "9.wav").write_bytes(b"no audio")
    assert len({before, changed, digest()}) == 3


def test_a_row_that_cannot_be_read_leaves_its_neighbours(tmp_path: Path, folder: Path) -> None:
    rows = [(folder / "0.wav").read_bytes(), b"no audio", None, (folder / "3.wav").read_bytes()]
    parquet.write_table(pyarrow.table({"audio": pyarrow.array(rows, pyarrow.binary())}), tmp_path / "a.parquet")
    files = AudioFiles(tmp_path / "a.parquet", RATE)
    assert [index for index, _ in files.readable(range(4))] == [0, 3]
    for index in (1, 2):
        with pytest.raises(MediaError):
            files[index]


def test_ranks_take_rows_from_stretches_of_their_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crops = AudioCrops(AudioFiles(folder, RATE), 100, 10_000, (7,))
    assert [crops.turn(index) for index in (0, 1023, 1024)] == [(7, 0, 0), (7, 0, 0), (7, 1, 0)]
    monkeypatch.setattr(ranks, "count", lambda: 2)
    crop_loader(crops, AudioData(batch_size=4), lambda: range(1))
    assert [crops.turn(index) for index in (0, 3, 4, 8, 2048 + 4)] == [(7, 0, 0)] * 2 + [
        (7, 0, 1),
        (7, 0, 0),
        (7, 1, 1),
    ]
