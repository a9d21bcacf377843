"""Optional requirements of metrics: packages of an extra, and pretrained weights."""

import hashlib
import importlib
from pathlib import Path

from narrows.errors import InputError


def require_package(package: str, metric: str, extra: str) -> None:
    """Raises InputError if a package cannot be imported.

    Args:
        package: Import name of the package.
        metric: Metric that needs the package, for the message.
        extra: Extra of narrows that installs the package, for the message.
    """
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise InputError(
            f"{metric} needs the package {package} ({error}); pip install 'narrows[{extra}]' or leave {metric} out"
        ) from error


def download_weights(url: str, digest: str, metric: str) -> Path:
    """Downloads pretrained weights to the folder of torch.hub, unless they are there already.

    Args:
        url: Address of the file.
        digest: First hexadecimal digits of its SHA-256.
        metric: Metric that needs the weights, for messages.

    Returns:
        Path of the local file.

    Raises:
        InputError: The download fails, or the digest differs.
    """
    import torch

    path = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[1])
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), progress=False)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:  # there is no network, or the folder cannot be written
        reason = " ".join(str(error).split())
        raise InputError(f"{metric} needs {url}, which cannot be downloaded ({reason}); put it at {path}") from error
    if not found.startswith(digest):
        raise InputError(f"{metric} needs {url}, but {path} has another SHA-256; remove that file")
    return path
