"""Causal layers: equal to published ones, whole and in pieces; states are not changed."""

import pytest
import torch
from torch import Tensor, nn

from narrows.codecs.base import State
from narrows.codecs.layers.causal import Causal, CausalConv, CausalSequential, ChannelNorm, Past, Run
from narrows.errors import InputError

KERNELS = [(3, 3, 3), (3, 1, 1), (1, 3, 3), (1, 1, 1), (5, 3, 3)]


def made(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    return layer.eval()


def in_pieces(layer: Causal, x: Tensor, size: int) -> Tensor:
    state, outputs = layer.start(len(x)), []
    for piece in x.split(size, 2):
        before = state
        out, state = layer.step(piece, before)
        assert torch.equal(layer.step(piece, before)[0], out)  # a step changes no state
        outputs.append(out)
    return torch.cat(outputs, 2)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
def test_convolutions_equal_those_of_cogvideox(kernel: tuple[int, int, int], training: bool) -> None:
    module = pytest.importorskip("diffusers.models.autoencoders.autoencoder_kl_cogvideox")
    torch.manual_seed(0)
    theirs, ours = made(module.CogVideoXCausalConv3d(4, 6, kernel)), made(CausalConv(4, 6, kernel))
    ours.load_state_dict({name.removeprefix("conv."): value for name, value in theirs.state_dict().items()})
    x = torch.randn(2, 4, 7, 6, 5)
    torch.testing.assert_close(ours.train(training)(x), theirs(x)[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kernel", [kernel for kernel in KERNELS if kernel[0] != 5])
def test_convolutions_equal_those_of_wan(kernel: tuple[int, int, int], training: bool) -> None:
    module = pytest.importorskip("diffusers.models.autoencoders.autoencoder_kl_wan")
    torch.manual_seed(0)
    padding = tuple(size // 2 for size in kernel)
    theirs, ours = (
        made(module.WanCausalConv3d(4, 6, kernel, padding=padding)),
        made(CausalConv(4, 6, kernel, repeat=False)),
    )
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 4, 7, 6, 5)
    torch.testing.assert_close(ours.train(training)(x), theirs(x), atol=1e-5, rtol=0)


LAYERS = {
    "cube": lambda: CausalConv(4, 6, (3, 3, 3)),
    "zeros": lambda: CausalConv(4, 6, (3, 3, 3), repeat=False, bias=False),
    "dilated": lambda: CausalConv(4, 6, (3, 1, 3), dilation=3),
    "stride": lambda: CausalConv(4, 6, (3, 3, 3), (2, 2, 2), margins=(0, 1)),
    "stride 4": lambda: CausalConv(4, 6, (4, 2, 2), (4, 2, 2), margins=(0, 0)),
    "groups": lambda: CausalConv(4, 6, (3, 3, 3), groups=2),
    "depthwise": lambda: CausalConv(4, 4, (3, 5, 5), groups=4),
    "depthwise in time": lambda: CausalConv(4, 4, (3, 1, 1), groups=4),
    "depthwise in time without bias": lambda: CausalConv(4, 4, (3, 1, 1), groups=4, bias=False),
    "multiplied": lambda: CausalConv(4, 8, (3, 1, 1), groups=4),
    "frame": lambda: CausalConv(4, 6, (1, 3, 3)),
    "sequence": lambda: CausalSequential(
        CausalConv(4, 6, (3, 3, 3)), ChannelNorm(6), nn.SiLU(), CausalConv(6, 2, (3, 3, 3), (2, 1, 1))
    ),
    "nested": lambda: CausalSequential(
        CausalSequential(CausalConv(4, 6, (2, 1, 1))), nn.GELU(), CausalSequential(), CausalConv(6, 6, (3, 1, 1))
    ),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("size", [4, 8, 12])
def test_video_in_pieces_gives_the_bits_of_the_whole(name: str, size: int) -> None:
    torch.manual_seed(0)
    layer = made(LAYERS[name]())
    x = torch.randn(2, 4, 24, 8, 6)
    with torch.no_grad():
        whole = layer(x)
        assert torch.equal(in_pieces(layer, x, size), whole)
        torch.testing.assert_close(layer.train()(x), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_pieces_shorter_than_what_is_kept(size: int) -> None:
    torch.manual_seed(0)
    layer = made(CausalConv(2, 3, (4, 1, 1), dilation=2))
    x = torch.randn(1, 2, 15, 2, 2)
    assert torch.equal(in_pieces(layer, x, size), layer(x))


@pytest.mark.parametrize("size", [4, 8, 20])
@pytest.mark.parametrize("repeat", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(7, 1, 1), (7, 1, 3), (8, 4, 1), (4, 4, 1)])
def test_audio_in_pieces(kernel: int, stride: int, dilation: int, repeat: bool, size: int) -> None:
    torch.manual_seed(0)
    layer = made(CausalConv(4, 6, (kernel,), (stride,), dilation=dilation, repeat=repeat))
    x = torch.randn(2, 4, 40)
    margin = (kernel - 1) * dilation + 1 - stride
    padded = torch.cat((x[:, :, :1].expand(-1, -1, margin) * repeat, x), 2)
    expected = nn.functional.conv1d(padded, layer.weight, layer.bias, stride, 0, dilation)
    torch.testing.assert_close(layer(x), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(in_pieces(layer, x, size), expected, atol=1e-5, rtol=0)


def test_nothing_after_an_output_changes_it() -> None:
    layer = made(CausalConv(2, 3, (4, 3, 3), (2, 1, 1)))
    x = torch.randn(1, 2, 12, 4, 4)
    other = x.clone()
    other[:, :, 6:] = 0
    assert torch.equal(layer(other)[:, :, :3], layer(x)[:, :, :3])
    assert not torch.equal(layer(other)[:, :, 3], layer(x)[:, :, 3])


def test_a_state_keeps_no_more_than_is_needed() -> None:
    layer = made(CausalConv(2, 3, (3, 3, 3)))
    with torch.no_grad():
        _, state = layer.step(torch.randn(1, 2, 50, 4, 4), layer.start(1))
    assert isinstance(state, Past)
    assert state.kept is not None
    assert state.kept.shape == (1, 2, 2, 4, 4)
    assert state.kept.untyped_storage().nbytes() == 4 * state.kept.numel()


def test_wrong_steps_are_named() -> None:
    layer = CausalConv(2, 3, (3, 3, 3), (2, 1, 1))
    _, state = layer.step(torch.zeros(1, 2, 2, 4, 4), layer.start(1))
    with pytest.raises(InputError, match="expected a multiple of 2 times, got 3"):
        layer.step(torch.zeros(1, 2, 3, 4, 4), state)
    for other in (torch.zeros(2, 2, 2, 4, 4), torch.zeros(1, 2, 2, 4, 5)):
        with pytest.raises(InputError, match="expected the batch and size of earlier steps"):
            layer.step(other, state)
    with pytest.raises(InputError, match="expected the state of a convolution, got State"):
        layer.step(torch.zeros(1, 2, 2, 4, 4), State())
    with pytest.raises(InputError, match="expected the state that start or a step has returned, got Past"):
        Run(Past())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (((3, 3),), "expected a kernel and a stride of 1 or 3 axes"),
        (((3, 3, 3), (1, 1)), "expected a kernel and a stride of 1 or 3 axes"),
        (((1, 3, 3), (2, 1, 1)), "expected a kernel that is not shorter than its stride in time"),
        (((0, 3, 3),), "expected kernel to be an integer from 1"),
    ],
)
def test_wrong_convolutions_are_refused(options: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        CausalConv(2, 2, *options)
