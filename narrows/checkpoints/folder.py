"""Checkpoint folders: everything that a tokenizer or an image classifier needs, without code or pickles.

config.json           format, name, and the tokenizer or classifier as nested parts; for a Re-Bottleneck also its base
model.safetensors     the weights; those of a base are left out
tables.safetensors    frequency tables, or networks that predict them, for entropy coding (optional)
README.md             the model card: training data and duration, results, licence
evaluation.json       the results in the model card
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors
from torch import Tensor

from narrows.bitstream import FrequencyTables, PredictedTables
from narrows.checkpoints.assemble import ADVICE, WEIGHT_DTYPES, assemble, check_shapes, expected_shapes
from narrows.codecs.stacked import base_digest, base_tensors
from narrows.errors import InputError, MediaError, ModelError, NarrowsError, PartError, shortened
from narrows.media.atomic import atomic_write, write_bytes
from narrows.media.files import quoted
from narrows.parts import NAME, build, find, spec
from narrows.tokenizers.classifier import ImageClassifier
from narrows.tokenizers.model import Base, Model
from narrows.tokenizers.tokenizer import Tokenizer

FORMAT = 2
MAX_CONFIG_BYTES = 1 << 20
TABLE_DTYPES = ("I8", "I32")  # of tables.safetensors


def save(folder: str | Path, tokenizer: Model, dtype: torch.dtype | None = None) -> None:
    """Save a tokenizer, or another model, and its tables as a checkpoint folder.

    Files of an earlier checkpoint are replaced once all new ones are written.

    The weights of the base of a Re-Bottleneck are left out. They are stored, too, if they were changed since it was
    loaded, or if the folder of the base is gone or is what is replaced.

    Args:
        folder: created if it does not exist; a checkpoint in it is replaced.
        tokenizer: the tokenizer or ImageClassifier; its `name` is the name of the model.
        dtype: dtype of the stored floating-point parameters, such as torch.float16; None keeps the dtype of each.
            Buffers always keep theirs: statistics, such as the sums of EMA codebooks, may exceed the range of float16.

    Raises:
        InputError: for an object that is not a Tokenizer, an invalid name, a dtype that is not float16, bfloat16,
            float32 or float64, and for weights that are not finite in this dtype.
        MediaError: if a file cannot be written.
    """
    if not isinstance(tokenizer, Model):
        raise InputError(f"expected a folder and a Tokenizer, got a {type(tokenizer).__name__} as the second")
    check_name(tokenizer.name)
    if dtype not in (None, *WEIGHT_DTYPES):
        raise InputError(f"expected a dtype of {', '.join(map(str, WEIGHT_DTYPES))} or None, got {shortened(dtype)}")
    folder = Path(folder)
    config = {"format": FORMAT, "name": tokenizer.name, "tokenizer": spec(tokenizer)}
    of_base = set[str]()
    if tokenizer.base is not None and _is_in_base(tokenizer, tokenizer.base, folder):
        of_base.update(name for name, _ in base_tensors(tokenizer.codec))
        config["base"] = {
            "model": _relative(tokenizer.base.model, folder),
            "fingerprint": tokenizer.base.fingerprint,
        }
    parameters = dict(tokenizer.codec.named_parameters(remove_duplicate=False))
    weights = {
        key: _to_storage(key, tensor, dtype if key in parameters else None)
        for key, tensor in tokenizer.codec.state_dict().items()
        if key not in of_base
    }
    files = {
        "config.json": (json.dumps(config, indent=1) + "\n").encode(),
        "model.safetensors": save_tensors(weights),
    }
    if tokenizer.tables is not None:
        files["tables.safetensors"] = save_arrays(tokenizer.tables.to_arrays())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            for name, data in files.items():
                file = stack.enter_context(atomic_write(folder / name, overwrite=True))
                file.write(data)
                file.flush()
            if tokenizer.tables is None:
                (folder / "tables.safetensors").unlink(missing_ok=True)  # tables of a replaced checkpoint
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or error
        raise MediaError(f"the folder {quoted(folder)} cannot be written ({reason}); choose another") from error


def save_tables(folder: str | Path, tokenizer: Model) -> None:
    """Write the tables of a model beside its weights. Raises MediaError if the file cannot be written."""
    assert tokenizer.tables is not None
    write_bytes(Path(folder) / "tables.safetensors", save_arrays(tokenizer.tables.to_arrays()), overwrite=True)


def read(folder: str | Path, open_base: Callable[[str], Tokenizer] | None = None) -> Tokenizer:
    """Load a checkpoint folder of a tokenizer; see `read_model`. Raises ModelError for one of a classifier, too."""
    model = read_model(folder, open_base)
    if not isinstance(model, Tokenizer):
        raise ModelError(
            f"expected a tokenizer in {folder}, got a classifier of images; open it with narrows.checkpoints."
            "read_classifier"
        )
    return model


def read_classifier(folder: str | Path) -> ImageClassifier:
    """Load a checkpoint folder of an image classifier; see `read_model`. Raises ModelError for another, too."""
    model = read_model(folder)
    if not isinstance(model, ImageClassifier):
        raise ModelError(f"expected a classifier of images in {folder}, got a tokenizer; open it with narrows.load")
    return model


@torch.inference_mode(False)  # tensors made in inference mode cannot be trained
def read_model(folder: str | Path, open_base: Callable[[str], Tokenizer] | None = None) -> Model:
    """Load a checkpoint folder. Nothing is unpickled, and no code from the folder runs.

    Args:
        folder: the folder.
        open_base: opens the base of a Re-Bottleneck, by a name, a path or a hub repository; `narrows.load` gives it.

    Floating-point weights of all dtypes are converted to the dtype of the parts, float32, on the CPU.

    Parts of your own must be registered before: import the module that defines them.

    Raises ModelError for a missing or damaged file, another format or an unknown part, and with the name of a tensor
    that is missing, unexpected or of a wrong shape or dtype.
    """
    folder = Path(folder)
    config, path = _config(folder / "config.json"), folder / "model.safetensors"
    _check_parts(config["tokenizer"], folder / "config.json")
    _check_regular(path)
    base = _base(config, folder, open_base)
    of_base = {} if base is None else base.codec.state_dict()

    def make() -> Model:
        return _model(config)

    try:
        with safe_open(path, framework="pt") as file:
            given = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            expected, names = expected_shapes(make, len(given) + len(of_base))
            names = _of_base(config, names)
            _check_base(of_base, expected, names)
            check_shapes(given, {key: shape for key, shape in expected.items() if key not in names}, path)
            weights = {key: file.get_tensor(key) for key in given}
        model = assemble(make, weights | {key: of_base[name] for key, name in names.items()}, path)
    except ModelError:
        raise
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}; {ADVICE}") from error
    except (NarrowsError, RuntimeError, MemoryError, OverflowError) as error:
        raise ModelError(
            f"{folder / 'config.json'} does not describe a tokenizer of this version: {error}; {ADVICE}"
        ) from error
    model.name, model.folder = config["name"], folder
    if base is not None:
        model.base = Base(str(base.origin), base.fingerprint, base_digest(model.codec))
    model.tables = read_tables(folder / "tables.safetensors", model)
    return model


def check_name(name: str) -> None:
    """Raise InputError for an invalid name of a model, which is used in file names and stream headers."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InputError(
            "expected a name of 1 to 60 letters, digits, '.', '-' and '_', letter or digit first, got "
            f"{shortened(name)}"
        )


def _check_regular(path: Path) -> None:
    """Raise ModelError for a folder, pipe or device; reading a pipe would wait for a writer."""
    if path.exists() and not path.is_file():
        raise ModelError(f"expected a file, got {path}, which is a folder, a pipe or a device; {ADVICE}")


def _config(path: Path) -> dict[str, Any]:
    _check_regular(path)
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ModelError(
                f"expected {path} of at most {MAX_CONFIG_BYTES} bytes, got {path.stat().st_size}; {ADVICE}"
            )
        config = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} cannot be read as the config of a checkpoint: {error}; give a folder that `codec train` made"
        ) from error
    if not isinstance(config, dict) or type(config.get("format")) is not int:
        raise ModelError(f"expected an integer under 'format' in {path}, got none; {ADVICE}")
    if config["format"] != FORMAT:
        advice = "upgrade narrows" if config["format"] > FORMAT else "train or publish it again with this version"
        raise ModelError(
            f"expected a checkpoint of format {FORMAT}, got {shortened(config['format'])} in {path}; {advice}"
        )
    for key, kind in {"name": str, "tokenizer": dict}.items():
        if type(config.get(key)) is not kind:
            raise ModelError(
                f"expected a {kind.__name__} under {key!r} in {path}, got {shortened(config.get(key))}; {ADVICE}"
            )
    try:
        check_name(config["name"])
    except InputError as error:
        raise ModelError(f"{path}: {error}") from error
    return config


def _check_parts(description: object, path: Path) -> None:
    """Raise ModelError that names the first part in a description that is not registered."""
    waiting = [description]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            waiting += found.values()
            if isinstance(name := found.get("part"), str):
                try:
                    find(name)
                except PartError as error:
                    raise ModelError(f"{path}: {error}") from error
        elif isinstance(found, list):
            waiting += found


def _model(config: Mapping[str, Any]) -> Model:
    model = build(config["tokenizer"])
    if not isinstance(model, Model):
        raise ModelError(f"expected the config of a tokenizer, got one of a {type(model).__name__}")
    return model


def _of_base(config: Mapping[str, Any], names: dict[str, str]) -> dict[str, str]:
    """The tensors that a checkpoint takes from its base, of those that its codec could take from one."""
    if "base" not in config:
        return {}
    if not names:
        raise ModelError(f"expected a codec around a Re-Bottleneck, as it has a base, got one without; {ADVICE}")
    return names


def _base(config: Mapping[str, Any], folder: Path, open_base: Callable[[str], Tokenizer] | None) -> Tokenizer | None:
    """The model that a Re-Bottleneck stands around, opened; None for a checkpoint that names none."""
    if "base" not in config:
        return None
    given, path = config["base"], folder / "config.json"
    model, fingerprint = (given.get(key) if isinstance(given, dict) else None for key in ("model", "fingerprint"))
    if not isinstance(model, str) or not isinstance(fingerprint, str) or not model:
        raise ModelError(f"expected a model and a fingerprint under 'base' in {path}, got {shortened(given)}; {ADVICE}")
    if open_base is None:
        raise ModelError(f"expected a checkpoint with all its weights, got one around {shortened(model)}; load it")
    base = open_base(model := _absolute(model, folder))
    if base.fingerprint != fingerprint:
        raise ModelError(
            f"expected {shortened(model)} with the fingerprint {shortened(fingerprint)}, for which {folder} was "
            f"trained, got {base.fingerprint}; bring that version back, or train again"
        )
    return base


def _check_base(given: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], names: Mapping[str, str]) -> None:
    """Raise ModelError unless a base has the tensors that a config takes from it."""
    for key, name in names.items():
        found = tuple(given[name].shape) if name in given else None
        if found != expected[key]:
            raise ModelError(
                f"expected {name} of shape {expected[key]} in the base, got {'none' if found is None else found}; "
                f"{ADVICE}"
            )


def _is_in_base(tokenizer: Model, base: Base, folder: Path) -> bool:
    """Whether a checkpoint in `folder` can leave out the weights of its base.

    They must be those that the base was loaded with, and the base and what it stands around must stay in other folders.
    """
    if base_digest(tokenizer.codec) != base.digest:
        return False
    model, passed = base.model, set[str]()
    while os.path.isabs(model) and model not in passed:
        passed.add(model)
        try:
            if folder.exists() and folder.samefile(model):
                return False
            below = _config(Path(model) / "config.json").get("base")
        except (ModelError, OSError):
            return False
        if below is None:
            break
        model = _absolute(str(below.get("model")) if isinstance(below, dict) else "", Path(model))
    return True


def _absolute(model: str, folder: Path) -> str:
    """The inverse of `_relative`."""
    return os.path.abspath(os.path.join(os.path.realpath(folder), model)) if model.startswith(".") else model


def _relative(model: str, folder: Path) -> str:
    """A path as it is from a checkpoint folder, beginning with a dot; a name or hub repository as it is."""
    if not os.path.isabs(model):
        return model
    path = Path(os.path.relpath(model, os.path.realpath(folder))).as_posix()  # the same through symbolic links
    return path if path.startswith(".") else f"./{path}"


def read_tables(path: Path, tokenizer: Model) -> FrequencyTables | PredictedTables | None:
    """The frequency tables of a model in a file; None if there is none. Raises ModelError for those of another."""
    if not path.exists():
        return None
    _check_regular(path)
    tables: FrequencyTables | PredictedTables
    try:
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118
                dtype = file.get_slice(name).get_dtype()
                if dtype not in TABLE_DTYPES:  # NumPy lacks some others, such as BF16
                    raise InputError(f"expected integers in {shortened(name)}, got {dtype}")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        tables = PredictedTables.from_arrays(arrays) if "digits" in arrays else FrequencyTables.from_arrays(arrays)
    except (SafetensorError, OSError, NarrowsError) as error:
        raise ModelError(f"{path} cannot be read: {error}; {ADVICE}") from error
    bottleneck = tokenizer.codec.bottleneck
    if isinstance(tables, PredictedTables):
        medium = tokenizer.medium.name if isinstance(tokenizer, Tokenizer) else "image"
        if medium != "audio":
            raise ModelError(f"expected fixed tables of {medium} in {path}, got networks; {ADVICE}")
        expected, found = bottleneck.codebook_sizes, tables.codebook_sizes
    else:
        expected, found = bottleneck.table_sizes, tables.sizes
    if found != expected:
        raise ModelError(f"expected alphabet sizes {expected} in {path}, got {shortened(found)}; {ADVICE}")
    return tables


def _to_storage(key: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    stored = tensor.detach().cpu().contiguous()
    stored = stored.to(dtype) if dtype is not None and stored.is_floating_point() else stored
    if stored.is_floating_point() and not stored.isfinite().all():
        raise InputError(
            f"expected weights that are finite as {stored.dtype}, got NaN or infinity in {key}; train again"
        )
    return stored
