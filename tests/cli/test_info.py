import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from narrows import checkpoints
from narrows.checkpoints.load import load


@pytest.fixture
def facts(codec):
    """facts(path) -> exit code and output of `codec info --json`."""

    def run(path):
        result = codec("info", path, "--json")
        return result.code, json.loads(result.out)

    return run


def test_byte_counts_add_up_to_the_file_size(facts, stream, model):
    path = stream("s.nrw", samples=44_100, channels=2, rate=44_100)
    code, shown = facts(path)
    assert code == 0
    assert (shown["model"], shown["medium"], shown["coder"]) == ("tiny", "audio", "rans")
    assert (shown["seconds"], shown["sample_rate"], shown["channels"]) == (1.0, 44_100, 2)
    assert shown["codebook_sizes"] == [16] * shown["codebooks"] == [16] * 3
    assert shown["bytes"] == path.stat().st_size
    assert shown["bytes"] == shown["header_bytes"] + shown["framing_bytes"] + shown["payload_bytes"]
    assert shown["kbit_per_second"] == pytest.approx(8 * shown["bytes"] / 1000)
    assert (shown["intact"], shown["damaged"], shown["damaged_bytes"]) == (True, [], 0)


def lines(text):
    """Values by label; the card of a model follows them."""
    return {line[:17].strip(): line[17:] for line in reversed(text.splitlines())}


def test_text_and_json_agree(codec, facts, stream):
    path = stream("s.nrw", "--raw")
    text, values = lines(codec("info", path).out), facts(path)[1]
    assert len(text) == len(values)
    for name in ("file", "model", "fingerprint", "seconds", "sample_rate", "bytes", "chunks"):
        assert text[name.replace("_", " ")] == str(values[name])
    assert text["codebook sizes"] == "16, 16, 16"
    assert text["kbit/s"] == str(values["kbit_per_second"])
    assert (text["damaged chunks"], text["intact"]) == ("none", "yes")


def test_facts_about_models_are_plain_words(codec):
    """Neither names of JSON nor values of Python."""
    speech, image = lines(codec("info", "speech").out), lines(codec("info", "image").out)
    assert (speech["entropy-coded"], image["entropy-coded"]) == ("yes", "yes")
    assert (speech["codebook counts"], speech["stride"]) == (", ".join(map(str, range(1, 13))), "320")
    assert speech["kbit/s"].count(", ") == 11
    assert image["qualities"] == "1, 2, 3, 4, 5, 6, 7, 8"
    assert image["bits per pixel"].startswith("1: 0.")


def test_damaged_chunks_are_reported(codec, facts, stream):
    path = stream("s.nrw", "--raw", samples=480_000)  # 30 s, two chunks
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    code, shown = facts(path)
    assert code == 2
    assert shown["damaged"] == [{"first": 1, "last": 1, "start": 1000, "stop": 1500}]
    assert not shown["intact"]
    assert lines(codec("info", path).out)["damaged chunks"] == "1 to 1"
    assert "'s.nrw' is damaged: 1 of 2 chunks are lost" in codec("info", "s.nrw").err


def test_appended_bytes_are_reported(codec, facts, stream):
    path = stream("s.nrw")
    path.write_bytes(path.read_bytes() + b"four")
    code, shown = facts(path)
    assert (code, shown["damaged"], shown["damaged_bytes"], shown["intact"]) == (2, [], 4, False)
    assert "0 of 1 chunks are lost, 4 bytes were changed or appended" in codec("info", "s.nrw").err


@pytest.mark.parametrize(
    ("name", "shown"),
    [("nowhere.nrw", "there is no file 'nowhere.nrw'"), (".", "'.', which is a folder"), ("/dev/null", "device")],
)
def test_invalid_files_are_refused(refused, name, shown):
    assert shown in refused("info", name)
    assert shown in refused("info", name, "--json")


def test_names_that_are_not_utf_8(codec, stream, place):
    name = b"\xff\xfe.nrw".decode(errors="surrogateescape")
    stream("s.nrw").rename(place / name)
    assert r"file             \udcff\udcfe.nrw" in codec("info", name).out
    assert json.loads(codec("info", name, "--json").out)["file"] == name


def test_stream_of_an_image(codec, image_stream):
    path = image_stream("s.nrw", "-q", 2.5)
    shown = json.loads(codec("info", "s.nrw", "--json").out)
    size = path.stat().st_size
    assert (shown["medium"], shown["width"], shown["height"], shown["channels"]) == (
        "image",
        70,
        40,
        3,
    )
    assert (shown["quality"], shown["bytes"], shown["coder"]) == (2.5, size, "indexed")
    assert shown["bits_per_pixel"] == round(8 * size / 2800, 4)
    assert "quality          2.5\n" in codec("info", "s.nrw").out
    path.write_bytes(path.read_bytes()[:-1])
    assert codec("info", "s.nrw").err.count("\n") == 1


def test_rates_of_the_shipped_image_model(codec):
    folder = Path(checkpoints.__file__).parent / "image"
    rates = json.loads(codec("info", folder, "--json").out)["bits_per_pixel"]
    assert [*rates] == [str(quality) for quality in range(1, 9)]
    assert sorted(rates.values()) == [*rates.values()]


def test_checkpoints(codec, refused, image_checkpoint, tiny_checkpoint, place):
    folder = shutil.copytree(image_checkpoint, place / "mine")
    shown = json.loads(codec("info", "mine", "--json").out)
    assert (shown["model"], shown["medium"], shown["quality_choices"]) == (
        "small",
        "image",
        [1, 2, 3, 4, 5, 6, 7, 8],
    )
    assert shown["parameters"] == sum(p.numel() for p in load(image_checkpoint).codec.parameters())
    assert shown["bits_per_pixel"] is None
    points = [{"quality": 1, "bits_per_pixel": 0.2}, {"quality": 8, "bits_per_pixel": 2.5}, {"point": "jpeg"}]
    (folder / "evaluation.json").write_text(json.dumps({"points": points}))
    assert json.loads(codec("info", "mine", "--json").out)["bits_per_pixel"] == {"1": 0.2, "8": 2.5}
    for damaged in ("[1, 2", "[" * 100_000):
        (folder / "evaluation.json").write_text(damaged)
        assert "evaluation.json" in refused("info", "mine")
    (folder / "model.safetensors").write_bytes(b"")
    assert "model.safetensors" in refused("info", "mine")
    shown = json.loads(codec("info", tiny_checkpoint(), "--json").out)
    assert (shown["medium"], shown["sample_rate"], len(shown["kbit_per_second"])) == (
        "audio",
        16_000,
        3,
    )


def test_all_files_of_weights_are_models(codec, refused, place):
    for name in ("a.nemo", "b.pth"):
        (place / name[0]).mkdir()
        (place / name[0] / name).write_bytes(b"damaged")
        for what in (f"{name[0]}/{name}", name[0]):
            assert f"{name} cannot be read" in refused("info", what)


def test_a_hostile_card_is_shown_as_text(codec, refused, tiny_checkpoint, place):
    folder = shutil.copytree(tiny_checkpoint(), place / "hostile")
    (folder / "README.md").write_bytes(b"# card\n\n\x1b[2Jcleared \xff\xfe\n")
    out = codec("info", folder).out
    assert "cleared" in out
    assert "\x1b[2J" not in out
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"\x1b[2J\nb": torch.zeros(1)}, folder / "model.safetensors")
    assert r"\x1b[2J\nb" in refused("info", folder, advice=False)


def test_rates_that_are_no_numbers_are_refused(refused, image_checkpoint, place):
    folder = shutil.copytree(image_checkpoint, place / "mine")
    for rate in ("9" * 400, "null", '"a"', "[]"):
        (folder / "evaluation.json").write_text(f'{{"points": [{{"quality": {rate}, "bits_per_pixel": {rate}}}]}}')
        assert "expected rates of a model in" in refused("info", folder)
