"""Pretrained weights that metrics need."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from narrows.errors import InputError
from narrows.extras import extra_of


def package_file(package: str, name: str) -> Path:
    """Path of a file that a package of an extra carries; the package is not imported, so it may lack its own needs.

    Args:
        package: Import name.
        name: Path of the file below the package's folder.

    Raises:
        InputError: The package is not installed, or lacks the file.
    """
    found = find_spec(package)
    folders = (found.submodule_search_locations or []) if found else []
    path = next((path for folder in folders if (path := Path(folder, name)).is_file()), None)
    if path is None:
        problem = f"expected {name} in the package {package}, got none" if found else f"expected the package {package}"
        raise InputError(f"{problem}; pip install 'narrows[{extra_of(package)}]'")
    return path


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
