from pathlib import Path

import pytest
import timm
import torch

from narrows.codecs import distributed as ranks
from narrows.errors import InputError, ModelError
from narrows.recipes.image_tokenizer import Contrastive, Perceptual
from narrows.recipes.losses.backbone import Backbone
from narrows.recipes.losses.contrastive import ContrastiveLoss
from narrows.recipes.losses.perceptual import PerceptualLoss


def weights(folder: Path, name: str) -> Path:
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = folder / f"{name}.safetensors"
    save_file(timm.create_model(name).state_dict(), path)
    return path


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_backbone_takes_any_size_and_is_frozen(name: str, tmp_path: Path) -> None:
    path = weights(tmp_path, name)
    backbone = Backbone(name, path).train()
    x = torch.rand(2, 3, 40, 56, requires_grad=True) * 2 - 1
    assert backbone(x).shape == (2, backbone.dim)
    assert len(backbone.features(x)) > 1
    assert not any(module.training for module in backbone.modules())
    assert not any(p.requires_grad for p in backbone.parameters())
    network = timm.create_model(name, num_classes=0).eval()
    loaded = network.load_state_dict({k: v for k, v in timm.models.load_state_dict(str(path)).items()}, strict=False)
    assert not loaded.missing_keys
    size = network.pretrained_cfg["input_size"][1:]
    x = torch.rand(1, 3, *size)
    mean, std = (torch.tensor(network.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(backbone(2 * x - 1), network((x - mean) / std))


def test_perceptual_loss_grows_with_noise(tmp_path: Path) -> None:
    loss = Perceptual("test_resnet", weights(tmp_path, "test_resnet")).loss()
    assert isinstance(loss, PerceptualLoss)
    torch.manual_seed(0)
    x, noise = torch.rand(2, 3, 64, 64) - 0.5, torch.randn(2, 3, 64, 64)
    values = [loss(x + level * noise, x).item() for level in (0, 0.02, 0.1, 0.4)]
    assert values[0] == 0
    assert values == sorted(values)
    flat = torch.zeros(1, 3, 64, 64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(flat, x[:1]), flat)
    assert gradient.isfinite().all()


def test_contrastive_loss_falls_when_its_head_is_trained(tmp_path: Path) -> None:
    loss = Contrastive("test_resnet", weights(tmp_path, "test_resnet")).loss(6)
    assert isinstance(loss, ContrastiveLoss)
    torch.manual_seed(0)
    colours = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]])
    x, latents = colours.view(4, 3, 1, 1).expand(4, 3, 64, 64), torch.randn(4, 6, 2, 2)
    trained = [p for p in loss.parameters() if p.requires_grad]
    assert len(trained) == 5
    names = ["head.bias", "head.weight", "log_scale", "norm.bias", "norm.weight"]  # those of saved runs
    assert sorted(name for name in loss.state_dict() if not name.startswith("teacher.")) == names
    optimizer = torch.optim.Adam(trained, 0.03)
    values = []
    for _ in range(60):
        values.append(loss(latents, x))
        optimizer.zero_grad()
        values[-1].backward()
        optimizer.step()
    assert values[-1] < 0.5 * values[0]
    assert loss(latents.flip(0), x) > values[-1]
    assert Contrastive().loss(6) is None


def test_missing_and_wrong_weights_are_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object) -> None:
        raise OSError("no network\nat all")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    other = weights(tmp_path, "test_resnet")
    (tmp_path / "none.safetensors").write_bytes(b"nothing")
    (tmp_path / "pickle.pth").write_bytes(b"nothing")
    cases: list[tuple[str, Path | None, type[Exception], str]] = [
        ("test_vit", None, ModelError, r"cannot download the weights of test_vit \(no network at all\)"),
        ("test_vit", other, ModelError, r"expected the tensor .* of test_vit in .*, got none"),
        (
            "test_vit",
            tmp_path / "none.safetensors",
            ModelError,
            "expected the weights of test_vit .* cannot be read",
        ),
        (
            "test_vit",
            tmp_path / "pickle.pth",
            InputError,
            "expected an existing .safetensors file as weights of test_vit",
        ),
        ("test_vitt", None, InputError, "did you mean 'test_vit'"),
    ]
    for name, path, error, message in cases:
        with pytest.raises(error, match=message) as caught:
            Backbone(name, path)
        assert "\n" not in str(caught.value)


def test_the_contrastive_loss_of_ranks_is_that_of_the_whole_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = Contrastive("test_resnet", weights(tmp_path, "test_resnet")).loss(6)
    assert loss is not None
    torch.manual_seed(0)
    x, latents = torch.rand(6, 3, 64, 64) * 2 - 1, torch.randn(6, 6, 2, 2)
    whole, gathered = loss(latents, x), {0: [], 1: []}
    values = []
    for attempt in range(2):  # the first one only records what the ranks gather
        for rank in range(2):
            others = iter(gathered[1 - rank])

            def gather(own: torch.Tensor, rank: int = rank, attempt: int = attempt, others=others) -> torch.Tensor:  # type: ignore[no-untyped-def]
                if attempt == 0:
                    gathered[rank].append(own.detach())
                other = next(others) if attempt else torch.zeros_like(own)
                return torch.cat([own, other] if rank == 0 else [other, own])

            monkeypatch.setattr(ranks, "gather", gather)
            monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
            values.append(loss(latents[3 * rank : 3 * rank + 3], x[3 * rank : 3 * rank + 3]))
    torch.testing.assert_close((values[2] + values[3]) / 2, whole)
