"""What some metrics need beside the library: packages of an extra, and weights of published networks."""

import hashlib
import importlib
from pathlib import Path

from narrows.errors import InputError


def package(name: str, metric: str, extra: str) -> None:
    """Raises InputError where a package cannot be imported; `extra` of narrows brings it."""
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"{metric} needs the package {name} ({error}); pip install 'narrows[{extra}]' or leave {metric} out"
        ) from error


def weights(url: str, digest: str, metric: str) -> Path:
    """The file of weights at `url`, in the folder of torch.hub, where it is downloaded to once.

    digest: the first hexadecimal digits of its sha256. Raises InputError where it cannot be had or is another file.
    """
    import torch

    path = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[1])
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), progress=False)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:  # no network, or no place to write
        reason = " ".join(str(error).split())
        raise InputError(f"{metric} needs {url}, which cannot be had ({reason}); put it at {path}") from error
    if not found.startswith(digest):
        raise InputError(f"{path} is another file than {url}, which {metric} needs; remove it")
    return path
