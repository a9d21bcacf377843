"""The published checkpoints of other libraries that `narrows.load` knows by name. Reading the list imports no torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

RELEASES = Path(__file__).parent / "releases.json"


@dataclass(frozen=True)
class Release:
    """A published checkpoint.

    Attributes:
        name: for `narrows.load`; tokens and streams hold it.
        family: module of the family.
        repository: on the Hugging Face Hub.
        licence: of the weights, as an SPDX identifier where there is one.
        summary: one-line description.
        files: that are fetched.
        revision: commit that is fetched; None for the newest.
        sha256: of the file of the weights; None where it is not known.
        facts: of the tokenizer, see `narrows.checkpoints.facts`.
        published: results that the authors state, by what was measured.
    """

    name: str
    family: str
    repository: str
    licence: str
    summary: str
    files: tuple[str, ...] = ("config.json", "model.safetensors")
    revision: str | None = None
    sha256: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)
    published: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def commercial(self) -> bool:
        """Whether the licence lets the weights be used commercially."""
        return not any(mark in self.licence for mark in ("NC", "non-commercial", "research"))


@cache
def releases() -> tuple[Release, ...]:
    """All published checkpoints, sorted by name."""
    listed = json.loads(RELEASES.read_text(encoding="utf-8"))
    return tuple(
        Release(name, **entry | ({"files": tuple(entry["files"])} if "files" in entry else {}))
        for name, entry in sorted(listed.items())
    )


def find_release(name: str) -> Release | None:
    """The release of a name or of a repository on the hub; None if it is not listed."""
    for release in releases():
        if name in (release.name, release.repository):
            return release
    return None
