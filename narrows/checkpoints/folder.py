"""A checkpoint on disk: a folder that holds all that a tokenizer needs, and nothing that runs.

config.json           format, name, and the tokenizer as nested parts
model.safetensors     the weights
tables.safetensors    frequency tables for entropy coding (optional)
README.md             the model card: training data and duration, results, licence
evaluation.json       the numbers of the card
"""

import json
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors
from torch import Tensor
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from narrows.bitstream import FrequencyTables
from narrows.errors import InputError, ModelError, NarrowsError
from narrows.media.atomic import write_bytes
from narrows.parts import build, spec
from narrows.tokenizers.tokenizer import Tokenizer

FORMAT = 2
MAX_CONFIG_BYTES = 1 << 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
AGAIN = "fetch the checkpoint again"


def save(folder: str | Path, tokenizer: Tokenizer, dtype: torch.dtype | None = None) -> None:
    """Write a tokenizer with its tables as a checkpoint folder.

    Args:
        folder: made if it is not there; a checkpoint in it is replaced.
        tokenizer: its `name` becomes the name of the model.
        dtype: of the stored floating-point weights, such as torch.float16; None keeps the dtype of each tensor.

    Raises:
        InputError: for a name that `read` would refuse, and for weights that are not finite in this dtype.
        MediaError: where a file cannot be written.
    """
    check_name(tokenizer.name)
    folder = Path(folder)
    config = {"format": FORMAT, "name": tokenizer.name, "tokenizer": spec(tokenizer)}
    weights = {key: _stored(key, tensor, dtype) for key, tensor in tokenizer.codec.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tables.safetensors").unlink(missing_ok=True)  # those of other weights
    write_bytes(folder / "config.json", (json.dumps(config, indent=1) + "\n").encode(), overwrite=True)
    write_bytes(folder / "model.safetensors", save_tensors(weights), overwrite=True)
    if tokenizer.tables is not None:
        arrays = save_arrays(tokenizer.tables.to_arrays())
        write_bytes(folder / "tables.safetensors", arrays, overwrite=True)


@torch.inference_mode(False)  # weights made in inference mode could never have gradients
def read(folder: str | Path) -> Tokenizer:
    """Load a checkpoint folder; nothing is unpickled and no code of the folder runs.

    Weights stored as float16 or bfloat16 are computed with as float32; other dtypes are kept.

    Raises ModelError for a file that is missing or damaged, another format, an unknown part, and for each tensor that
    is missing, unexpected or of a wrong shape, by name.
    """
    folder = Path(folder)
    config, path = _config(folder / "config.json"), folder / "model.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            given = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            _compare(given, _expected(config, len(given)), path)
            weights = {key: _computed(file.get_tensor(key)) for key in given}
        for key, tensor in weights.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise ModelError(f"expected finite weights in {path}, got NaN or infinity in {key}; {AGAIN}")
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn and then replaced
            tokenizer = _tokenizer(config)
    except ModelError:
        raise
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}; {AGAIN}") from error
    except (NarrowsError, RuntimeError, MemoryError, OverflowError) as error:
        raise ModelError(
            f"{folder / 'config.json'} describes no tokenizer of this version: {error}; {AGAIN}"
        ) from error
    tokenizer.codec.load_state_dict(weights, assign=True)  # the dtypes as well
    tokenizer.codec.eval().requires_grad_(False)
    tokenizer.name = config["name"]
    tokenizer.tables = _tables(folder / "tables.safetensors", tokenizer)
    return tokenizer


def check_name(name: str) -> None:
    """Raise InputError unless a model may have this name, which stands in file names and headers of streams."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InputError(
            f"expected a name of 1 to 60 letters, digits, '.', '-' and '_', letter or digit first, got {name!r}"
        )


def _config(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ModelError(f"expected {path} of at most {MAX_CONFIG_BYTES} bytes, got {path.stat().st_size}; {AGAIN}")
        config = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} cannot be read as the config of a checkpoint: {error}; give a folder that codec train made"
        ) from error
    if not isinstance(config, dict) or type(config.get("format")) is not int:
        raise ModelError(f"expected an integer under 'format' in {path}, got none; {AGAIN}")
    if config["format"] != FORMAT:
        advice = "upgrade narrows" if config["format"] > FORMAT else "train or publish it again with this version"
        raise ModelError(f"expected a checkpoint of format {FORMAT}, got {config['format']} in {path}; {advice}")
    for key, kind in {"name": str, "tokenizer": dict}.items():
        if type(config.get(key)) is not kind:
            raise ModelError(f"expected a {kind.__name__} under {key!r} in {path}, got {config.get(key)!r}; {AGAIN}")
    try:
        check_name(config["name"])
    except InputError as error:
        raise ModelError(f"{path}: {error}") from error
    return config


def _tokenizer(config: Mapping[str, Any]) -> Tokenizer:
    tokenizer = build(config["tokenizer"])
    if not isinstance(tokenizer, Tokenizer):
        raise ModelError(f"expected the config of a tokenizer, got one of a {type(tokenizer).__name__}")
    return tokenizer


def _expected(config: Mapping[str, Any], tensors: int) -> dict[str, tuple[int, ...]]:
    """The shapes that a config asks for, without allocating them; stops soon after `tensors` parameters."""
    built, thread = 0, threading.get_ident()

    def count(*_: object) -> None:
        nonlocal built
        built += threading.get_ident() == thread
        if built > 2 * tensors + 100:  # a parameter may be registered twice
            raise ModelError(f"expected {tensors} tensors, as model.safetensors has, got far more in config.json")

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"), _RealConstants():
            return {key: tuple(tensor.shape) for key, tensor in _tokenizer(config).codec.state_dict().items()}
    finally:
        hook.remove()


class _RealConstants(TorchFunctionMode):
    """Under the meta device: creates constants on the CPU and does not fill weights.

    Arithmetic on meta tensors would work too, but imports a part of torch that takes longer to load than all else here.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.uniform_, Tensor.normal_, Tensor.erfinv_, Tensor.clamp_):  # the last two: truncated normals
            return args[0]
        real = {"device": "cpu"} if func in (torch.tensor, torch.arange, torch.linspace, torch.hann_window) else {}
        return func(*args, **(real | (kwargs or {})))


def _compare(given: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], path: Path) -> None:
    advice = "use the config.json that these weights came with"
    for key in sorted(expected.keys() | given.keys()):
        if key not in given:
            raise ModelError(f"expected the tensor {key} of shape {expected[key]} in {path}, got none; {advice}")
        if key not in expected:
            raise ModelError(f"expected only tensors of the codec in config.json, got {key} in {path}; {advice}")
        if given[key] != expected[key]:
            raise ModelError(f"expected {key} of shape {expected[key]} in {path}, got {given[key]}; {advice}")


def _tables(path: Path, tokenizer: Tokenizer) -> FrequencyTables | None:
    if not path.exists():
        return None
    try:
        tables = FrequencyTables.from_arrays(load_arrays(path))
    except (SafetensorError, OSError, NarrowsError) as error:
        raise ModelError(f"{path} cannot be read: {error}; {AGAIN}") from error
    expected = tokenizer.codec.bottleneck.table_sizes
    if tables.sizes != expected:
        raise ModelError(f"expected alphabets of {expected} in {path}, got {tables.sizes}; {AGAIN}")
    return tables


def _computed(tensor: Tensor) -> Tensor:
    """A stored tensor in the dtype that it is computed with."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _stored(key: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    stored = tensor.detach().cpu().contiguous()
    stored = stored.to(dtype) if dtype is not None and stored.is_floating_point() else stored
    if stored.is_floating_point() and not stored.isfinite().all():
        raise InputError(f"expected weights that are finite as {stored.dtype}, got others in {key}; train again")
    return stored
