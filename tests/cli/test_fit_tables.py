import shutil

import numpy as np
import pytest
import soundfile

pytest.importorskip("lightning")


@pytest.fixture
def sound(place):
    (place / "sound").mkdir()
    time = np.arange(32_000) / 16_000
    soundfile.write(place / "sound" / "a.wav", 0.3 * np.sin(500 * time), 16_000)
    return place / "sound"


def test_tables_are_added_to_a_folder(codec, refused, model, sound, place):
    mine = shutil.copytree(model, place / "mine")
    assert "got tables.safetensors; give --force" in refused("fit-tables", mine, "--data", sound)
    (mine / "tables.safetensors").unlink()
    codec("encode", sound / "a.wav", "-m", mine, "-o", "raw.nrw")
    result = codec("fit-tables", mine, "--data", sound)
    assert result.code == 0, result.err
    assert "->" in result.out
    codec("encode", sound / "a.wav", "-m", mine, "-o", "coded.nrw")
    assert (place / "coded.nrw").stat().st_size < (place / "raw.nrw").stat().st_size
    assert codec("decode", "coded.nrw", "-m", mine).code == 0


def test_a_name_needs_a_folder(codec, refused, sound, place):
    assert "expected --out FOLDER for speech" in refused("fit-tables", "speech", "--data", sound)


def test_another_folder_gets_the_model_too(codec, model, sound, place):
    result = codec("fit-tables", model, "--data", sound, "-o", "out", "--networks", 2)
    assert result.code == 0, result.err
    assert codec("encode", sound / "a.wav", "-m", "out").code == 0


def test_another_checkpoint_is_not_replaced(codec, refused, model, sound, place):
    shutil.copytree(model, place / "other")
    (place / "other" / "tables.safetensors").unlink()
    assert "expected no checkpoint in other" in refused("fit-tables", model, "--data", sound, "-o", "other")
    config = (place / "other" / "config.json").stat().st_ino
    assert codec("fit-tables", "other", "--data", sound, "-o", "other").code == 0
    assert (place / "other" / "config.json").stat().st_ino == config  # only the tables are written
    assert codec("fit-tables", model, "--data", sound, "-o", "other", "--force").code == 0
