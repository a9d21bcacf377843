import subprocess
import sys

import pytest
import torch

from narrows.codecs import ViTDecoder, ViTEncoder
from narrows.errors import InputError


@pytest.mark.parametrize("size", [(64, 64), (32, 80)])
@torch.no_grad()
def test_it_is_timms_vision_transformer(size: tuple[int, int]) -> None:
    from timm.models import VisionTransformer

    torch.manual_seed(0)
    theirs = VisionTransformer(
        img_size=64,
        embed_dim=32,
        depth=2,
        num_heads=4,
        class_token=False,
        num_classes=0,
        global_pool="",
        dynamic_img_size=True,
    ).eval()
    ours = ViTEncoder(8, 32, 2, 4, 16, 4)
    for name, tensor in theirs.state_dict().items():
        tensor.copy_(torch.randn(tensor.shape) * 0.2)
        if name == "pos_embed":
            ours.transformer.positions.copy_(tensor.transpose(1, 2).unflatten(2, (4, 4)))
        elif name.startswith("patch_embed.proj."):
            ours.get_parameter(name.replace("patch_embed.proj", "embed")).copy_(tensor)
        else:
            ours.transformer.get_parameter(name).copy_(tensor)
    x = torch.randn(2, 3, *size)
    wanted = theirs.forward_features(x)
    found = ours.features(x).flatten(2).transpose(1, 2)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
    assert ours(x).shape == (2, 8, size[0] // 16, size[1] // 16)


def test_a_decoder_gives_each_position_its_patch() -> None:
    torch.manual_seed(0)
    decoder = ViTDecoder(4, 16, 1, 2, 8, 3)
    z = torch.randn(1, 4, 2, 5, requires_grad=True)
    x = decoder(z)
    assert x.shape == (1, 3, 16, 40)
    (gradient,) = torch.autograd.grad(x[..., 0, 0].sum(), z)
    assert decoder.reach == (None, None)
    assert (gradient != 0).all()
    changed = z.detach().clone()
    changed[..., 1, 3] += 1
    moved = (decoder(changed) - x).abs().mean((0, 1)).unflatten(0, (2, 8)).unflatten(2, (5, 8)).mean((1, 3))
    assert int(moved.argmax()) == 8  # row 1 of five, column 3: the patch of that position most


@pytest.mark.parametrize(
    "make",
    [
        lambda: ViTEncoder(width=100),
        lambda: ViTEncoder(depth=0),
        lambda: ViTDecoder(patch=0),
        lambda: ViTEncoder(4, 16, 1, 2, 8, 3)(torch.zeros(1, 3, 16, 20)),
    ],
)
def test_what_makes_no_network_is_refused(make) -> None:
    with pytest.raises(InputError, match=r"expected|wanted"):
        make()


def test_who_needs_no_transformer_does_not_wait_for_timm() -> None:
    code = "import sys, narrows.codecs; sys.exit('timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
