import shutil

import pytest
import torch

import narrows
from narrows.checkpoints.convert import convert
from narrows.checkpoints.families.releases import Release, releases
from narrows.errors import InputError, LicenceWarning, ModelError

transformers = pytest.importorskip("transformers")
SMALL = {
    "encoder_hidden_size": 4,
    "downsampling_ratios": [2, 4, 8, 8],
    "decoder_hidden_size": 32,
    "upsampling_ratios": [8, 8, 4, 2],
    "n_codebooks": 3,
    "codebook_size": 64,
    "sampling_rate": 44_100,
}


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """A folder with a small public model."""
    folder = tmp_path_factory.mktemp("public") / "dac_small"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.DacModel(transformers.DacConfig(**SMALL)).save_pretrained(folder)
    return folder


@pytest.fixture
def hub(public, monkeypatch):
    """A hub that has the public model under every name; the calls that it got."""
    calls = []

    def download(repository, revision=None, allow_patterns=()):
        calls.append((repository, revision, sorted(allow_patterns)))
        return str(public)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return calls


def test_a_converted_model_is_the_same(public, tmp_path):
    original, out = narrows.load(public), tmp_path / "mine"
    convert(public, out)
    converted = narrows.load(out)
    assert (converted.name, converted.fingerprint) == (original.name, original.fingerprint)
    x = 0.1 * torch.randn(1, 44_100)
    tokens = original.encode(x, 44_100)
    assert torch.equal(converted.encode(x, 44_100).codes, tokens.codes)
    assert torch.equal(converted.decode(tokens), original.decode(tokens))
    card = (out / "README.md").read_text()
    assert original.fingerprint in card
    assert "SHA-256 of model.safetensors" in card


def test_names_and_repositories_are_fetched(hub):
    first = narrows.load("dac-44khz")
    assert first.name == "dac"  # it is no model of this size
    assert narrows.load("someone/dac", revision="v2").fingerprint == first.fingerprint
    assert narrows.load("descript/dac_44khz@main").fingerprint == first.fingerprint
    assert hub[0] == ("descript/dac_44khz", None, ["README.md", "config.json", "model.safetensors"])
    assert hub[1][:2] == ("someone/dac", "v2")
    assert hub[2][:2] == ("descript/dac_44khz", "main")


def test_revisions_of_files_are_refused(public):
    for model in (public, public / "model.safetensors", "speech"):
        with pytest.raises(InputError, match="expected a revision of a repository on the hub"):
            narrows.load(model, revision="main")


def test_another_hash_is_refused(hub, public, monkeypatch):
    release = Release("dac-44khz", "dac", "descript/dac_44khz", "MIT", "", sha256="0" * 64)
    monkeypatch.setattr("narrows.checkpoints.hub.find_release", lambda name: release)
    with pytest.raises(ModelError, match=r"expected model\.safetensors with the SHA-256 0000") as caught:
        narrows.load("dac-44khz")
    assert "\n" not in str(caught.value)


def test_licences_are_said(public, tmp_path, monkeypatch):
    release = Release("dac", "dac", "someone/dac", "CC-BY-NC-4.0", "", facts={"parameters": 0})
    assert not release.commercial
    monkeypatch.setattr("narrows.checkpoints.load.find_release", lambda name: release)
    with pytest.warns(LicenceWarning, match=r"CC-BY-NC-4\.0: not for commercial use"):
        narrows.load(public)


def test_releases_are_known():
    for release in releases():
        assert release.facts["parameters"] > 0, release.name
        assert release.licence
        assert release.summary
        assert release.repository.count("/") == 1


def cut(path):
    path.write_bytes(path.read_bytes()[:1000])


def edited(change):
    def edit(path):
        from safetensors.torch import load_file, save_file

        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (edited(lambda t: t.pop("decoder.conv1.bias")), r"expected the tensor decoder\.model\.0\.bias of shape"),
        (edited(lambda t: t.update(extra=torch.zeros(1))), "got 'extra'"),
        (edited(lambda t: t.update({"decoder.conv1.bias": torch.zeros(3)})), r"decoder\.model\.0\.bias of shape"),
        (edited(lambda t: t["decoder.conv1.bias"].fill_(torch.nan)), "NaN"),
        (edited(lambda t: t.update({"encoder.conv1.weight_g": torch.ones(1)})), "weight_g"),
        (edited(lambda t: t.clear()), "expected tensors in"),
    ],
)
def test_damaged_files_are_one_line(public, tmp_path, damage, message):
    folder = shutil.copytree(public, tmp_path / "damaged")
    damage(folder / "model.safetensors")
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(folder)
    assert "\n" not in str(caught.value)


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"state_dict": Evil()}, "code in it is never run"),
        ({"state_dict": {}}, "expected tensors in"),
        ([1, 2], "expected tensors in"),
        ({"a": {"b": torch.zeros(2)}}, "expected a checkpoint of this library or of a family"),
    ],
)
def test_files_of_torch_save(tmp_path, capsys, data, message):
    torch.save(data, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(tmp_path / "weights.pth")
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("data", [b"", b"garbage" * 99, b"PK\x03\x04" + b"\0" * 99, b"\x80\x02."])
def test_other_bytes_are_one_line(tmp_path, data):
    (tmp_path / "weights.pth").write_bytes(data)
    with pytest.raises(ModelError, match="cannot be read") as caught:
        narrows.load(tmp_path / "weights.pth")
    assert "\n" not in str(caught.value)


def test_families_are_documented():
    from pathlib import Path

    from narrows.checkpoints.families import FAMILIES

    page = (Path(__file__).parents[2] / "docs" / "public_models.md").read_text()
    words = {"glm_voice": "GLM-4-Voice", "s3": "S3 v1", "xcodec": "X-Codec 1", "xcodec2": "X-Codec 2"}
    for family in FAMILIES:
        assert words.get(family, family).lower() in page.lower(), family


def test_nothing_else_knows_a_family():
    """No module but those of a family, its networks and their lists names it."""
    import re
    from pathlib import Path

    import narrows

    root = Path(narrows.__file__).parent
    names = "dac|encodec|mimi|snac|oobleck|vocos|wavtokenizer|bigcodec|xcodec2?|neucodec|glm|nanocodec|s3"
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root).as_posix()
        if inside.startswith(("checkpoints/families/", "codecs/")) or inside == "parts.py":
            continue
        code = re.sub(r'""".*?"""|#[^\n]*', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.search(rf"\b({names})\b", code, re.IGNORECASE), inside
