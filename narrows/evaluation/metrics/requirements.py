"""Pretrained weights that metrics need."""

import hashlib
from pathlib import Path

from narrows.errors import InputError


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
