"""Checkpoints on the Hugging Face Hub, fetched to the cache of huggingface_hub."""

import hashlib
from pathlib import Path

from narrows.checkpoints.families import SUFFIXES
from narrows.checkpoints.families.releases import Release, find_release
from narrows.errors import ModelError, shortened

MAX_REASON = 300  # characters of a message of the hub
FILES = ("config.json", "*.safetensors", "README.md", "evaluation.json")


def from_hub(model: str, revision: str | None = None) -> Path:
    """Fetch a checkpoint; returns its folder, or the file of the weights if it is listed with other names.

    Args:
        model: name of a release, or a repository ("owner/name", "owner/name@revision").
        revision: commit, branch or tag; by default that of the list, or the newest.

    Raises:
        ModelError: if it cannot be fetched, has no weights, or has others than the list says.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError of httpx or requests
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
    )

    repository, _, of_name = model.partition("@")
    release, given = find_release(repository), revision or of_name or None
    files = FILES if release is None else tuple(dict.fromkeys((*release.files, "README.md")))
    if release is not None:
        repository, given = release.repository, given or release.revision
    try:
        folder = Path(snapshot_download(repository, revision=given, allow_patterns=list(files)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, HTTPError, OSError) as error:
        reason = (str(error).strip() or "no answer").splitlines()[0].rstrip(".")
        what = f"no folder {shortened(model)}, and the" if release is None else f"{release.name}: the"
        raise ModelError(
            f"{what} hub repository {'of that name' if release is None else repository} cannot be fetched "
            f"({reason[:MAX_REASON]}); check the name and the network"
        ) from error
    return folder if release is None else _weights(folder, release, given)


def _weights(folder: Path, release: Release, revision: str | None) -> Path:
    """The file of the weights of a release, checked."""
    name = next(name for name in release.files if name.endswith(SUFFIXES))
    path = folder / name
    if not path.is_file():
        raise ModelError(f"expected {name} in the hub repository {release.repository}, got none; check the revision")
    if release.sha256 is not None and revision == release.revision:
        check_sha256(path, release.sha256)
    return path


def check_sha256(path: Path, expected: str) -> None:
    """Raise ModelError unless a file has a SHA-256."""
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ModelError(
            f"expected {path.name} with the SHA-256 {expected}, got {found}: the download is damaged or the file was "
            f"replaced; delete {path} and load again"
        )
