"""A model from a description and weights of unknown origin: shapes are checked before anything is allocated."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from narrows.codecs.stacked import base_tensors
from narrows.errors import ModelError, shortened
from narrows.tokenizers.model import Model

ADVICE = "fetch the checkpoint again"
CALLS_PER_TENSOR = 100  # calls of PyTorch that constructing a codec makes for each tensor, at most
INITIAL = 0.01  # of parameters before they are loaded
WEIGHT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
Shapes = Mapping[str, tuple[int, ...]]
_DEFAULT_DTYPE = threading.RLock()  # held while the default dtype is changed
_INITIALIZERS = (nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_, nn.init.trunc_normal_)


def expected_shapes(make: Callable[[], Model], tensors: int) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Shapes of the tensors of a model, without allocating them; and those of its base, with their names there.

    Args:
        make: makes the model.
        tensors: number of tensors that the file has. ModelError is raised once the model takes far more calls of
            PyTorch than these do, so that a huge description fails fast.
    """
    with default_settings(), torch.device("meta"), _ShapesOnly(tensors):
        codec = make().codec
        return {key: tuple(tensor.shape) for key, tensor in codec.state_dict().items()}, dict(base_tensors(codec))


def assemble(make: Callable[[], Model], weights: Mapping[str, Tensor], path: Path) -> Model:
    """Make a model, and give it its weights; call `check_shapes` before.

    Args:
        make: makes the model, with any weights.
        weights: all tensors of the codec's state dict; floats of any type are converted to that of the part.
        path: the file that they are from, for messages.

    Raises ModelError for integers as floats, and for NaN and infinity.
    """
    with default_settings(), _OwnRandomness():
        model = make()
    state = model.codec.state_dict()
    converted = {key: _to_compute_dtype(key, tensor, state[key].dtype, path) for key, tensor in weights.items()}
    model.codec.load_state_dict(converted, assign=True)  # also assigns the dtypes
    model.codec.eval().requires_grad_(False)
    return model


def check_shapes(given: Shapes, expected: Shapes, path: Path) -> None:
    """Raise ModelError with the name of a tensor that is missing, unexpected or of a wrong shape."""
    advice = "use the config.json that belongs to these weights"
    for key in sorted(expected.keys() | given.keys()):
        if key not in given:
            raise ModelError(f"expected the tensor {key} of shape {expected[key]} in {path}, got none; {advice}")
        if key not in expected:
            raise ModelError(
                f"expected only tensors of the codec in config.json, got {shortened(key)} in {path}; {advice}"
            )
        if given[key] != expected[key]:
            raise ModelError(f"expected {key} of shape {expected[key]} in {path}, got {given[key]}; {advice}")


@contextmanager
def default_settings() -> Iterator[None]:
    """Create tensors as float32 on the CPU within, whatever the process-wide defaults are.

    One thread at a time: the default dtype belongs to the process.
    """
    with _DEFAULT_DTYPE:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            with torch.device("cpu"):
                yield
        finally:
            torch.set_default_dtype(before)


class _OwnRandomness(TorchFunctionMode):
    """Draws random numbers from a generator of its own: that of the process does not change.

    A mode, unlike a saved and restored random state, does not touch what other threads draw meanwhile. Parameters get a
    constant, which is faster: all of them are loaded afterwards, and constructors that run a network need numbers.
    """

    draws: ClassVar[tuple[Any, ...]] = (
        *(*_INITIALIZERS, Tensor.uniform_, Tensor.normal_),
        *(Tensor.random_, Tensor.bernoulli_, Tensor.exponential_, Tensor.log_normal_, Tensor.cauchy_),
        *(torch.rand, torch.randn, torch.randint, torch.randperm, torch.normal, torch.bernoulli, torch.multinomial),
    )

    def __init__(self) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(0)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _INITIALIZERS:
            tensor = args[0] if args else (kwargs or {})["tensor"]
            if isinstance(tensor, nn.Parameter):
                with torch.no_grad():
                    return tensor.fill_(INITIAL)
        own = {"generator": self._generator} if func in self.draws else {}
        return func(*args, **((kwargs or {}) | own))


class _ShapesOnly(TorchFunctionMode):
    """Under the meta device, creates constants on the CPU and skips random initialization.

    Arithmetic on meta tensors would also work, but it imports a part of torch that takes longer than everything else
    here.

    Args:
        tensors: expected number of tensors; ModelError is raised after the calls that far more of them take.
    """

    skipped: ClassVar[tuple[Any, ...]] = (
        *(*_INITIALIZERS, Tensor.uniform_, Tensor.normal_),
        *(Tensor.erfinv_, Tensor.clamp_),  # of truncated normals
    )

    def __init__(self, tensors: int) -> None:
        super().__init__()
        self._tensors, self._left = tensors, CALLS_PER_TENSOR * tensors + 10_000

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ModelError(f"expected {self._tensors} tensors, as model.safetensors has, got far more in config.json")
        if func in self.skipped:
            return args[0] if args else kwargs["tensor"]
        constant = func in (torch.tensor, torch.arange, torch.linspace, torch.hann_window)
        return func(*args, **(({"device": "cpu"} if constant else {}) | (kwargs or {})))


def _to_compute_dtype(key: str, tensor: Tensor, dtype: torch.dtype, path: Path) -> Tensor:
    """Convert a stored tensor to the dtype of the part. Raises ModelError for integers as floats, NaN and infinity."""
    allowed = WEIGHT_DTYPES if dtype.is_floating_point else (dtype,)
    if tensor.dtype not in allowed:
        raise ModelError(f"expected {key} in {path} as {' or '.join(map(str, allowed))}, got {tensor.dtype}; {ADVICE}")
    computed = tensor.to(dtype)
    if computed.is_floating_point() and not computed.isfinite().all():
        raise ModelError(f"expected finite weights in {path}, got NaN or infinity in {key}; {ADVICE}")
    return computed
