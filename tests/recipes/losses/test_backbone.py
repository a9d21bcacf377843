from pathlib import Path

import pytest
import torch

from narrows.errors import InputError, ModelError
from narrows.recipes.image_tokenizer import Perceptual, Semantic
from narrows.recipes.losses.backbone import Backbone
from narrows.recipes.losses.features import FeatureDistance, SemanticContrast

timm = pytest.importorskip("timm")


def weights(folder: Path, name: str) -> Path:
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = folder / f"{name}.safetensors"
    save_file(timm.create_model(name).state_dict(), path)
    return path


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_a_network_looks_at_pictures_of_any_size_and_never_learns(name: str, tmp_path: Path) -> None:
    path = weights(tmp_path, name)
    backbone = Backbone(name, path).train()
    x = torch.rand(2, 3, 40, 56, requires_grad=True) * 2 - 1
    assert backbone(x).shape == (2, backbone.dim)
    assert len(backbone.layers(x)) > 1
    assert not any(module.training for module in backbone.modules())
    assert not any(p.requires_grad for p in backbone.parameters())
    theirs = timm.create_model(name, num_classes=0).eval()
    found = theirs.load_state_dict({k: v for k, v in timm.models.load_state_dict(str(path)).items()}, strict=False)
    assert not found.missing_keys
    size = theirs.pretrained_cfg["input_size"][1:]
    x = torch.rand(1, 3, *size)
    mean, std = (torch.tensor(theirs.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(backbone(2 * x - 1), theirs((x - mean) / std))


def test_features_tell_pictures_apart(tmp_path: Path) -> None:
    distance = Perceptual("test_resnet", weights(tmp_path, "test_resnet")).loss()
    assert isinstance(distance, FeatureDistance)
    torch.manual_seed(0)
    x, noise = torch.rand(2, 3, 64, 64) - 0.5, torch.randn(2, 3, 64, 64)
    values = [distance(x + level * noise, x).item() for level in (0, 0.02, 0.1, 0.4)]
    assert values[0] == 0
    assert values == sorted(values)
    flat = torch.zeros(1, 3, 64, 64, requires_grad=True)
    (gradient,) = torch.autograd.grad(distance(flat, x[:1]), flat)
    assert gradient.isfinite().all()


def test_latents_learn_what_a_teacher_takes_pictures_for(tmp_path: Path) -> None:
    contrast = Semantic("test_resnet", weights(tmp_path, "test_resnet")).loss(6)
    assert isinstance(contrast, SemanticContrast)
    torch.manual_seed(0)
    colours = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]])
    x, latents = colours.view(4, 3, 1, 1).expand(4, 3, 64, 64), torch.randn(4, 6, 2, 2)
    learned = [p for p in contrast.parameters() if p.requires_grad]
    assert len(learned) == 5
    optimizer = torch.optim.Adam(learned, 0.03)
    values = []
    for _ in range(60):
        values.append(contrast(latents, x))
        optimizer.zero_grad()
        values[-1].backward()
        optimizer.step()
    assert values[-1] < 0.5 * values[0]
    assert contrast(latents.flip(0), x) > values[-1]
    assert Semantic().loss(6) is None


def test_weights_that_cannot_be_had_are_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object) -> None:
        raise OSError("no network\nat all")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    other = weights(tmp_path, "test_resnet")
    (tmp_path / "none.safetensors").write_bytes(b"nothing")
    (tmp_path / "pickle.pth").write_bytes(b"nothing")
    cases: list[tuple[str, Path | None, type[Exception], str]] = [
        ("test_vit", None, ModelError, r"cannot be fetched \(no network at all\)"),
        ("test_vit", other, ModelError, r"does not hold the weights of test_vit \(it lacks"),
        ("test_vit", tmp_path / "none.safetensors", ModelError, "does not hold the weights"),
        ("test_vit", tmp_path / "pickle.pth", InputError, "a .safetensors file that is there wanted"),
        ("test_vitt", None, InputError, "did you mean 'test_vit'"),
    ]
    for name, path, kind, said in cases:
        with pytest.raises(kind, match=said) as caught:
            Backbone(name, path)
        assert "\n" not in str(caught.value)
