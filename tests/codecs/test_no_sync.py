"""Encoding and decoding never synchronise an accelerator with the host, can be exported and compile to one graph."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from narrows.codecs import (
    FSQ,
    IBQ,
    LFQ,
    VQ,
    Bottleneck,
    Codec,
    EMACodebook,
    FactorizedPrior,
    FrameDecoder,
    FrameEncoder,
    Gaussian,
    LappedDecoder,
    LappedEncoder,
    MeanScaleHyperprior,
    MultiCodebook,
    ResidualFSQ,
    ResidualVQ,
    Rounding,
    ScaleHyperprior,
    SpaceChannelContext,
)

SYNCHRONISING = {  # operators whose result or whose shape depends on values, or that copy to the host
    "aten._local_scalar_dense",
    "aten.item",
    "aten.is_nonzero",
    "aten.equal",
    "aten.nonzero",
    "aten.masked_select",
    "aten.bincount",
    "aten._unique",
    "aten._unique2",
    "aten.unique_dim",
    "aten.unique_consecutive",
    "aten.repeat_interleave.Tensor",
}
HOST_METHODS = ("cpu", "numpy", "tolist", "item", "__bool__", "__int__", "__float__", "__index__", "nonzero")
HOST_FUNCTIONS = {getattr(Tensor, name) for name in HOST_METHODS} | {torch.tensor, torch.as_tensor, torch.from_numpy}


class _Operators(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        assert not SYNCHRONISING & {name, name.rsplit(".", 1)[0]}, f"{name} synchronises"
        if name.startswith("aten.index"):  # a mask as index is a nonzero
            indices = args[1] if isinstance(args[1], list | tuple) else ()
            assert not any(isinstance(i, Tensor) and i.dtype == torch.bool for i in indices), f"{name} with a mask"
        return func(*args, **(kwargs or {}))


class _Functions(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in HOST_FUNCTIONS, f"{func.__name__} copies between host and device"
        return func(*args, **(kwargs or {}))


@contextmanager
def no_sync(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail at whatever would wait for an accelerator, or copy to or from it."""
    with monkeypatch.context() as patch:
        for function in ("from_numpy", "tensor", "as_tensor"):

            def refuse(*args: Any, function: str = function, **kwargs: Any) -> None:
                raise AssertionError(f"torch.{function} copies from the host")

            patch.setattr(torch, function, refuse)
        with _Operators(), _Functions():
            yield


def _contract_makers() -> dict[str, Callable[[], Bottleneck]]:
    """The bottlenecks of bottlenecks/test_contract.py."""
    place = Path(__file__).parent / "bottlenecks" / "test_contract.py"
    spec = importlib.util.spec_from_file_location("contract_of_bottlenecks", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MAKERS


MAKERS = _contract_makers()
ENTROPY_MODELS = {
    "space-channel-context": lambda: SpaceChannelContext((3, 5), 1, (8, 6)),
    "mean-scale-hyperprior": lambda: MeanScaleHyperprior(8, 16),
    "scale-hyperprior": lambda: ScaleHyperprior(8, 16),
    "factorized-prior": lambda: FactorizedPrior(8),
}


@pytest.mark.parametrize(
    "check", [lambda x: bool(x.any()), lambda x: x.max().item(), lambda x: x[x > 0], torch.nonzero]
)
def test_the_hooks_notice_synchronisation(check: Callable[[Tensor], object], monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(4)
    with pytest.raises(AssertionError), no_sync(monkeypatch):
        check(x)


@pytest.mark.parametrize("name", [*MAKERS, "fsq-large", "gaussian-continuous", "ibq-large"])
def test_bottlenecks_do_not_synchronise(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    more: dict[str, Callable[[], Bottleneck]] = {
        "fsq-large": lambda: FSQ(6, (17,) * 6, 2),
        "gaussian-continuous": lambda: Gaussian(6, 3),
        "ibq-large": lambda: IBQ(6, 2**17, 4),
    }
    bottleneck = (MAKERS | more)[name]().eval()
    z = torch.randn(2, bottleneck.dim, 3, 4)
    with no_sync(monkeypatch), torch.no_grad():
        quantized = bottleneck(z)
        if bottleneck.codebook_sizes:
            bottleneck.decode(bottleneck.encode(z))
    assert quantized.latents.shape == z.shape


@pytest.mark.parametrize("name", ENTROPY_MODELS)
@pytest.mark.parametrize("quality_index", [0, torch.zeros(2)])
def test_entropy_models_do_not_synchronise(
    name: str, quality_index: Tensor | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = ENTROPY_MODELS[name]().eval()
    y, bit_costs = torch.randn(2, 8, 8, 12), torch.rand(len(model.table_sizes), 20)
    with no_sync(monkeypatch), torch.no_grad():
        quantized = model(y, quality_index)
        model.encode(y, quality_index, bit_costs)
        model.decode(model.encode(y, quality_index), quality_index)
    assert quantized.latents.shape == y.shape


def frame_codec(bottleneck: Bottleneck | None = None) -> Codec:
    encoder, decoder = FrameEncoder(8, 16, 1, hop=16), FrameDecoder(8, 16, 1, hop=16)
    return Codec(encoder, FSQ(8, (5, 4), 3) if bottleneck is None else bottleneck, decoder).eval()


def stereo_frame_codec() -> Codec:
    encoder = FrameEncoder(8, 16, 1, hop=16, channels=2, phases=False)
    return Codec(encoder, FSQ(8, ((9,), (5, 4)), dropout=0.3), FrameDecoder(8, 16, 1, 16, 2, 1, channels=2)).eval()


def lapped_codec() -> Codec:
    return Codec(LappedEncoder(8, 6, 2, 1), SpaceChannelContext((3, 5), 1, (8, 6)), LappedDecoder(8, 6, 2, 2, 1)).eval()


def test_codecs_do_not_synchronise(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    audio, image = frame_codec(), lapped_codec()
    x, pixels = torch.randn(2, 1, 10 * audio.stride[0]), torch.rand(2, 3, 32, 64)
    with no_sync(monkeypatch), torch.no_grad():
        audio(x)
        audio.decode(audio.encode(x))
        image(pixels, 8)
        image.decode(image.encode(pixels, 8), 8)


class _Method(nn.Module):
    """A module whose forward is a method of another."""

    def __init__(self, module: nn.Module, method: str) -> None:
        super().__init__()
        self.module, self.method = module, method

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self.module, self.method)(x)


EXPORTED: dict[str, Callable[[], nn.Module]] = {
    "fsq": lambda: FSQ(6, (8, 5, 3), 2),
    "fsq-levels-of-each-group": lambda: FSQ(6, ((8,), (5, 4), (3, 3, 3)), dropout=0.3),
    "residual-fsq": lambda: ResidualFSQ(6, (5, 4), 3),
    "lfq": lambda: LFQ(6, 7, 2),
    "gaussian": lambda: Gaussian(6, 3, Rounding(0.5, 4.0)),
    "vq": lambda: VQ(6, EMACodebook(4, 40)),
    "residual-vq": lambda: ResidualVQ(6, 3, 32, 4),
    "multi-codebook": lambda: MultiCodebook(6, 3, 16, 4),
    "ibq": lambda: IBQ(6, 32, 4),
    "frame-codec-fsq": frame_codec,
    "stereo-frame-codec": stereo_frame_codec,
    "frame-codec-residual-vq": lambda: frame_codec(ResidualVQ(8, 3, 32, 4)),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_encode_and_decode_export(name: str) -> None:
    """The graph is exported at one batch size and length, both dynamic, and run at others."""
    torch.manual_seed(0)
    module = EXPORTED[name]().eval()
    given, other = torch.randn(2, 6, 12), torch.randn(3, 6, 20)
    stride = 1
    if isinstance(module, Codec):
        stride = module.stride[0]
        given, other = torch.randn(2, module.channels, 12 * stride), torch.randn(3, module.channels, 20 * stride)
    batch, length = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("length", min=2, max=1000)
    with torch.no_grad():
        codes = module.encode(other)
        samples = {0: batch, 2: stride * length}
        encode = torch.export.export(_Method(module, "encode"), (given,), dynamic_shapes=(samples,), strict=False)
        assert torch.equal(encode.module()(other), codes)
        frames = {0: batch, 2: length}
        example = module.encode(given)
        decode = torch.export.export(_Method(module, "decode"), (example,), dynamic_shapes=(frames,), strict=False)
        torch.testing.assert_close(decode.module()(codes), module.decode(codes), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [*EXPORTED, *(name for name in MAKERS if "package" not in name)])
def test_compiled_graphs_have_no_breaks(name: str) -> None:
    """`fullgraph=True` raises at the first break; the eager backend runs the graph as it is."""
    torch.manual_seed(0)
    module = {**MAKERS, **EXPORTED}[name]().eval()
    x = torch.randn(2, 6, 12)
    if isinstance(module, Codec):
        x = torch.rand(2, module.channels, *(8 * stride for stride in module.stride))
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(module, fullgraph=True, backend="eager")(x)
        expected = module(x)
        if isinstance(module, Codec):
            torch.testing.assert_close(compiled.x, expected.x)
        else:
            torch.testing.assert_close(compiled.latents, expected.latents)
        if isinstance(module, Codec) or module.codebook_sizes:
            codes = torch.compile(_Method(module, "encode"), fullgraph=True, backend="eager")(x)
            decoded = torch.compile(_Method(module, "decode"), fullgraph=True, backend="eager")(codes)
            torch.testing.assert_close(decoded, module.decode(module.encode(x)), atol=1e-4, rtol=1e-4)


def test_entropy_models_run_outside_of_compiled_graphs() -> None:
    """Their stages are coroutines, which break the graph; results are equal."""
    torch.manual_seed(0)
    codec, x = lapped_codec(), torch.rand(2, 3, 32, 64)
    torch.compiler.reset()
    with torch.no_grad():
        compiled, expected = torch.compile(codec, backend="eager")(x, 3), codec(x, 3)
    assert torch.equal(compiled.quantized.codes, expected.quantized.codes)
    assert torch.equal(compiled.x, expected.x)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", [*MAKERS, *ENTROPY_MODELS])
def test_cuda_sees_no_synchronisation(name: str) -> None:
    torch.manual_seed(0)
    module = (MAKERS | ENTROPY_MODELS)[name]().eval().cuda()
    z = torch.randn(2, module.dim, 8, 12, device="cuda")
    for mode in ("default", "error"):  # the first call may load kernels
        torch.cuda.set_sync_debug_mode(mode)
        try:
            with torch.no_grad():
                module(z)
                module.decode(module.encode(z))
        finally:
            torch.cuda.set_sync_debug_mode("default")
