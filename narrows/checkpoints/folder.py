"""A checkpoint on disk: a folder that holds all that a tokenizer needs, and nothing that runs.

config.json           format, name, medium, sample rate, lambdas (optional), and the codec as nested parts
model.safetensors     the weights, half precision
tables.safetensors    frequency tables for entropy coding (optional)
README.md             the card: what it was trained on, for how long, how it scores, its licence
evaluation.json       the numbers of the card
"""

import hashlib
import json
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
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

from narrows import codecs  # registers every part that a config may name  # noqa: F401
from narrows.bitstream import Tables
from narrows.codecs.codec import Codec
from narrows.errors import InputError, ModelError, NarrowsError
from narrows.media.atomic import write_bytes
from narrows.media.audio_limits import rate_fault
from narrows.parts import build, spec

FORMAT = 1
LARGEST_CONFIG = 1 << 20
LARGEST_LAMBDA = 1e6
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")


@dataclass(frozen=True)
class Checkpoint:
    """A codec as loaded from a folder. fingerprint: 16 hexadecimal digits over config and weights.

    sample_rate: in Hz, of audio; 0 for other media. lambdas: weights of the squared error that it was trained for, from
    the lowest quality to the highest; none where it does not say.
    """

    name: str
    medium: str
    sample_rate: int
    codec: Codec
    tables: Tables | None
    fingerprint: str
    lambdas: tuple[float, ...]


def save(
    folder: str | Path,
    codec: Codec,
    name: str,
    sample_rate: int = 0,
    tables: Tables | None = None,
    lambdas: Sequence[float] = (),
) -> None:
    """Write a codec as a checkpoint folder, for audio at `sample_rate` Hz or, without one, for images.

    Weights are stored in half precision. lambdas: as in Checkpoint.

    Raises InputError for a name or rate that `read` would refuse, and for weights too large for half precision.
    """
    check_name(name)
    if sample_rate and (fault := rate_fault(sample_rate)):
        raise InputError(f"the codec has {fault}")
    folder, medium = Path(folder), "audio" if sample_rate else "image"
    config = {"format": FORMAT, "name": name, "medium": medium, "sample_rate": sample_rate, "codec": spec(codec)}
    if lambdas:
        config["lambdas"] = list(lambdas)
    weights = {key: _half(key, tensor) for key, tensor in codec.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tables.safetensors").unlink(missing_ok=True)  # those of other weights
    write_bytes(folder / "config.json", (json.dumps(config, indent=1) + "\n").encode(), overwrite=True)
    write_bytes(folder / "model.safetensors", save_tensors(weights), overwrite=True)
    if tables is not None:
        write_bytes(folder / "tables.safetensors", save_arrays(tables.to_arrays()), overwrite=True)


@torch.inference_mode(False)  # weights of that mode could never have gradients pass through them
def read(folder: str | Path) -> Checkpoint:
    """Load a checkpoint folder; nothing is unpickled and no code of the folder runs.

    Raises ModelError for a file that is missing or damaged, a format of a later version, an unknown part, and for each
    tensor that is missing, unexpected or of a wrong shape, by name.
    """
    folder = Path(folder)
    config = _config(folder / "config.json")
    try:
        with safe_open(folder / "model.safetensors", framework="pt") as file:
            given = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            _compare(given, _wanted(config, len(given)), folder)
            weights = {key: file.get_tensor(key) for key in given}
        for key, tensor in weights.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise ModelError(f"{folder / 'model.safetensors'} holds NaN or infinity in {key}; fetch it again")
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and not kept
            codec = _codec(config)
    except ModelError:
        raise
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{folder / 'model.safetensors'} cannot be read: {error}; fetch the checkpoint again"
        ) from error
    except (NarrowsError, RuntimeError, MemoryError, OverflowError) as error:
        raise ModelError(
            f"{folder / 'config.json'} describes no codec of this version: {error}; fetch the checkpoint again"
        ) from error
    codec.load_state_dict(
        {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in weights.items()}
    )
    return Checkpoint(
        name=config["name"],
        medium=config["medium"],
        sample_rate=config["sample_rate"],
        codec=codec.eval().requires_grad_(False),
        tables=_tables(folder / "tables.safetensors", codec),
        fingerprint=fingerprint(folder),
        lambdas=tuple(map(float, config.get("lambdas", ()))),
    )


def check_name(name: str) -> None:
    """Raise InputError unless a model may be called so: what stands in file names and in the header of streams."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InputError(
            f"the name {name!r} given; 1 to 60 letters, digits, '.', '-' and '_' wanted, letter or digit first"
        )


def fingerprint(folder: str | Path) -> str:
    """16 hexadecimal digits of the SHA-256 over the codec's description and its stored weights."""
    config = _config(Path(folder) / "config.json")
    digest = hashlib.sha256(json.dumps([config["sample_rate"], config["codec"]], sort_keys=True).encode())
    digest.update((Path(folder) / "model.safetensors").read_bytes())
    return digest.hexdigest()[:16]


def _config(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ModelError(
                f"{path} has {path.stat().st_size} bytes, more than a config ever has; fetch the checkpoint again"
            )
        config = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} cannot be read as a checkpoint's config: {error}; give a folder that codec train made"
        ) from error
    kinds = {"format": int, "name": str, "medium": str, "sample_rate": int, "codec": dict}
    for key, kind in kinds.items():
        if not isinstance(config, dict) or type(config.get(key)) is not kind:
            raise ModelError(
                f"{path} has no {kind.__name__} under {key!r}; a checkpoint's config has {', '.join(kinds)}"
            )
    try:
        check_name(config["name"])
    except InputError as error:
        raise ModelError(f"{path}: {error}") from error
    if config["medium"] == "audio" and (fault := rate_fault(config["sample_rate"])):
        raise ModelError(f"{path} has {fault}")
    lambdas = config.get("lambdas", [])
    if not isinstance(lambdas, list) or any(
        type(each) not in (int, float) or not 0 < each < LARGEST_LAMBDA for each in lambdas
    ):
        raise ModelError(f"{path} has lambdas {str(lambdas)[:60]}, numbers above 0 and below a million wanted")
    if config["format"] > FORMAT:
        raise ModelError(f"{path} has format {config['format']}, this version reads up to {FORMAT}; upgrade narrows")
    return config


def _codec(config: dict[str, Any]) -> Codec:
    codec = build(config["codec"])
    if not isinstance(codec, Codec):
        raise ModelError(f"the config describes a {type(codec).__name__}, a codec wanted")
    return codec


def _wanted(config: dict[str, Any], tensors: int) -> dict[str, tuple[int, ...]]:
    """The shapes that a config asks for, found without allocating them; it stops soon after `tensors` parameters."""
    built, thread = 0, threading.get_ident()

    def count(*_: object) -> None:
        nonlocal built
        built += threading.get_ident() == thread
        if built > 2 * tensors + 100:  # a parameter may be registered twice
            raise ModelError(f"config.json describes far more than the {tensors} tensors of model.safetensors")

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"), _Constants():
            return {key: tuple(tensor.shape) for key, tensor in _codec(config).state_dict().items()}
    finally:
        hook.remove()


class _Constants(TorchFunctionMode):
    """Makes constants for real, and leaves weights without storage unfilled: arithmetic on what has no storage works as
    well, but is a part of torch that takes longer to import than all else here."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.uniform_, Tensor.normal_, Tensor.erfinv_, Tensor.clamp_):  # the last two: truncated normals
            return args[0]
        real = {"device": "cpu"} if func in (torch.tensor, torch.arange, torch.linspace, torch.hann_window) else {}
        return func(*args, **(real | (kwargs or {})))


def _compare(given: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]], folder: Path) -> None:
    path, advice = folder / "model.safetensors", "use the config.json that these weights came with"
    for key in sorted(wanted.keys() | given.keys()):
        if key not in given:
            raise ModelError(f"{path} lacks the tensor {key} of shape {wanted[key]}; {advice}")
        if key not in wanted:
            raise ModelError(f"{path} holds {key}, which the codec in config.json does not have; {advice}")
        if given[key] != wanted[key]:
            raise ModelError(f"{path} holds {key} of shape {given[key]}, {wanted[key]} wanted; {advice}")


def _tables(path: Path, codec: Codec) -> Tables | None:
    if not path.exists():
        return None
    try:
        tables = Tables.from_arrays(load_arrays(path))
    except (SafetensorError, OSError, NarrowsError) as error:
        raise ModelError(f"{path} cannot be read: {error}; fetch the checkpoint again") from error
    wanted = codec.bottleneck.table_sizes
    if tables.sizes != wanted:
        raise ModelError(
            f"{path} has alphabets of {tables.sizes}, the codec makes {wanted}; fetch the checkpoint again"
        )
    return tables


def _half(key: str, tensor: Tensor) -> Tensor:
    half = (tensor.half() if tensor.is_floating_point() else tensor).contiguous().cpu()
    if half.is_floating_point() and not half.isfinite().all():
        raise InputError(
            f"{key} holds numbers that are not finite in half precision; the run that made them went astray"
        )
    return half
