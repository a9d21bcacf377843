import json
import shutil
from pathlib import Path

import pytest

from narrows import checkpoints
from narrows.checkpoints.load import load


@pytest.fixture
def facts(codec):
    """facts(path) -> exit code and output of `codec info --json`."""

    def told(path):
        result = codec("info", path, "--json")
        return result.code, json.loads(result.out)

    return told


def test_the_parts_add_up_to_the_file(facts, stream, model):
    path = stream("s.nrw", samples=44_100, channels=2, rate=44_100)
    code, said = facts(path)
    assert code == 0
    assert (said["model"], said["medium"], said["coder"]) == ("tiny", "audio", "rans")
    assert (said["seconds"], said["sample_rate"], said["channels"]) == (1.0, 44_100, 2)
    assert said["codebook_sizes"] == [16] * said["codebooks"] == [16] * 3
    assert said["bytes"] == path.stat().st_size
    assert said["bytes"] == said["header_bytes"] + said["framing_bytes"] + said["payload_bytes"]
    assert said["kbit_per_second"] == pytest.approx(8 * said["bytes"] / 1000)
    assert (said["whole"], said["damaged"], said["damaged_bytes"]) == (True, [], 0)


def test_text_says_what_json_says(codec, facts, stream):
    path = stream("s.nrw", "--raw")
    lines = codec("info", path).out.splitlines()
    assert {line[:17].strip().replace(" ", "_"): line[17:] for line in lines} == {
        name: str(value) for name, value in facts(path)[1].items()
    }


def test_a_damaged_chunk_is_told(codec, facts, stream):
    path = stream("s.nrw", "--raw", samples=480_000)  # 30 s, two chunks
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    code, said = facts(path)
    assert code == 2
    assert said["damaged"] == [{"first": 1, "last": 1, "start": 1000, "stop": 1500}]
    assert not said["whole"]
    assert "'s.nrw' is damaged: 1 of 2 chunks are lost" in codec("info", "s.nrw").err


def test_appended_bytes_are_told(codec, facts, stream):
    path = stream("s.nrw")
    path.write_bytes(path.read_bytes() + b"four")
    code, said = facts(path)
    assert (code, said["damaged"], said["damaged_bytes"], said["whole"]) == (2, [], 4, False)
    assert "0 of 1 chunks are lost, 4 bytes were changed or appended" in codec("info", "s.nrw").err


@pytest.mark.parametrize(
    ("name", "said"),
    [("nowhere.nrw", "there is no file 'nowhere.nrw'"), (".", "'.' is a folder"), ("/dev/null", "device")],
)
def test_what_is_no_file_is_refused(refused, name, said):
    assert said in refused("info", name)
    assert said in refused("info", name, "--json")


def test_a_name_that_is_no_text(codec, stream, place):
    name = b"\xff\xfe.nrw".decode(errors="surrogateescape")
    stream("s.nrw").rename(place / name)
    assert r"file             \udcff\udcfe.nrw" in codec("info", name).out
    assert json.loads(codec("info", name, "--json").out)["file"] == name


def test_stream_of_an_image(codec, image_stream):
    path = image_stream("s.nrw", "-q", 2.5)
    said = json.loads(codec("info", "s.nrw", "--json").out)
    size = path.stat().st_size
    assert (said["medium"], said["width"], said["height"], said["channels"]) == ("image", 70, 40, 3)
    assert (said["quality"], said["bytes"], said["coder"]) == (2.5, size, "indexed")
    assert said["bits_per_pixel"] == round(8 * size / 2800, 4)
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
    said = json.loads(codec("info", "mine", "--json").out)
    assert (said["model"], said["medium"], said["quality_choices"]) == ("small", "image", [1, 2, 3, 4, 5, 6, 7, 8])
    assert said["parameters"] == sum(p.numel() for p in load(image_checkpoint).codec.parameters())
    assert said["bits_per_pixel"] is None
    points = [{"quality": 1, "bits_per_pixel": 0.2}, {"quality": 8, "bits_per_pixel": 2.5}, {"point": "jpeg"}]
    (folder / "evaluation.json").write_text(json.dumps({"points": points}))
    assert json.loads(codec("info", "mine", "--json").out)["bits_per_pixel"] == {"1": 0.2, "8": 2.5}
    for damaged in ("[1, 2", "[" * 100_000):
        (folder / "evaluation.json").write_text(damaged)
        assert "evaluation.json" in refused("info", "mine")
    (folder / "model.safetensors").write_bytes(b"")
    assert "model.safetensors" in refused("info", "mine")
    said = json.loads(codec("info", tiny_checkpoint(), "--json").out)
    assert (said["medium"], said["sample_rate"], len(said["kbit_per_second"])) == ("audio", 16_000, 3)
