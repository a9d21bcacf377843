import json

from narrows.checkpoints.index import Entry


def test_models_are_listed(codec, monkeypatch):
    known = [Entry("speech", "audio", "voices", "Apache-2.0", "0123456789abcdef", {"pesq": 3.0})]
    monkeypatch.setattr("narrows.checkpoints.index.entries", lambda: known)
    assert codec("models").out == "speech       audio  voices  [Apache-2.0]\n"
    assert json.loads(codec("models", "--json").out)[0]["fingerprint"] == "0123456789abcdef"


def test_the_index_of_the_package_is_json(codec):
    result = codec("models", "--json")
    assert result.code == 0
    assert isinstance(json.loads(result.out), list)
    assert codec("models").out.count("\n") == len(json.loads(result.out))
