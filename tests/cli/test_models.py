import json

from narrows.checkpoints.index import ShippedModel


def test_models_are_listed(codec, monkeypatch):
    known = [
        ShippedModel("image", "image", "photographs", "Apache-2.0", "fedcba9876543210", {}),
        ShippedModel("speech", "audio", "voices", "Apache-2.0", "0123456789abcdef", {"pesq": 3.0}),
    ]
    monkeypatch.setattr("narrows.checkpoints.index.models", lambda: known)
    lines = [line.split() for line in codec("models").out.splitlines()]
    assert lines == [
        ["name", "medium", "summary", "licence"],
        ["image", "image", "photographs", "Apache-2.0"],
        ["speech", "audio", "voices", "Apache-2.0"],
    ]
    assert json.loads(codec("models", "--json").out)[1]["fingerprint"] == "0123456789abcdef"


def test_the_index_of_the_package_is_json(codec):
    result = codec("models", "--json")
    assert result.code == 0
    assert isinstance(json.loads(result.out), list)
    assert codec("models").out.count("\n") == 1 + len(json.loads(result.out))
