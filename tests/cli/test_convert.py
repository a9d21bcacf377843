import json

from narrows.checkpoints.index import MODELS_FOLDER


def test_a_model_is_written_as_a_folder(codec, refused, model, place):
    result = codec("convert", model, "out")
    assert (result.code, result.out) == (0, "tiny: out\n")
    facts = json.loads(codec("info", "out", "--json").out)
    assert facts["fingerprint"] == json.loads(codec("info", model, "--json").out)["fingerprint"]
    assert "give --force" in refused("convert", model, "out")
    assert codec("convert", model, "out", "--force").code == 0
    assert "expected a model name" in refused("convert", "nothing like it", "other")
    assert "expected a revision of a repository" in refused("convert", model, "other", "--revision", "main")


def test_public_models_are_listed(codec):
    lines = codec("models", "--all").out.splitlines()
    (line,) = [line for line in lines if line.startswith("dac-44khz")]
    assert line.split()[1:6] == ["44.1", "kHz", "7.752", "775.2", "76.6"]
    assert line.split()[-1] == "descript/dac_44khz"
    listed = json.loads(codec("models", "--all", "--json").out)
    assert {"speech", "dac-16khz"} <= {entry["name"] for entry in listed}


def test_the_card_and_results_of_a_model_of_here_are_kept(codec, place):
    assert codec("convert", "speech", "out").code == 0
    shipped = MODELS_FOLDER / "speech"
    for name in ("README.md", "evaluation.json"):
        assert (place / "out" / name).read_bytes() == (shipped / name).read_bytes()
