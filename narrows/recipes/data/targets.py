"""What latents are aligned to: labels of media, or embeddings of crops by a frozen network or a function."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.errors import InputError, shortened
from narrows.plugins import import_target
from narrows.recipes.data.files import MediaFiles
from narrows.recipes.data.labels import labels_of
from narrows.recipes.losses.backbone import Backbone

AUDIO_RATE = 16_000  # Hz, of what teachers of audio get
Embedding = NDArray[np.float32]
Target = Embedding | int


class Targets(ABC):
    """What latents are aligned to: called with a crop (C, *signal) and the index of its item in `files`."""

    @abstractmethod
    def __call__(self, files: MediaFiles, x: Tensor, item: int) -> Target:
        """The embedding (E,) of a crop, or the label of its item."""

    @abstractmethod
    def facts(self, files: MediaFiles) -> dict[str, Any]:
        """What the targets of the items of `files` depend on, for the manifest of the prepared latents."""

    def on_synthetic_data(self) -> "Targets":
        """Targets of the same form for the synthetic media of a smoke run."""
        return self


class Labels(Targets):
    """The number of the label of an item.

    Args:
        column: of a manifest.
        classes: the labels, in order.
        synthetic: whether items have labels in turn, as there are none.
    """

    def __init__(self, column: str, classes: tuple[str, ...], synthetic: bool = False) -> None:
        self.column, self.classes, self.synthetic = column, classes, synthetic
        self._numbers = {name: number for number, name in enumerate(classes)}
        self._found: dict[int, list[str]] = {}

    def __call__(self, files: MediaFiles, x: Tensor, item: int) -> int:
        """See Targets."""
        if self.synthetic:
            return item % len(self.classes)
        return self._numbers[self._labels(files)[item]]

    def _labels(self, files: MediaFiles) -> list[str]:
        if id(files) not in self._found:
            self._found[id(files)] = labels_of(files, self.column)
        return self._found[id(files)]

    def facts(self, files: MediaFiles) -> dict[str, Any]:
        """See Targets. Raises InputError for items with other labels."""
        facts: dict[str, Any] = {"labels": self.column, "classes": list(self.classes)}
        if self.synthetic:
            return facts
        labels = self._labels(files)
        if unknown := sorted(set(labels) - set(self.classes)):
            raise InputError(f"expected labels of the training data, got {unknown[0]!r} in the validation data")
        return facts | {"label_digest": _digest(json.dumps(labels).encode())}

    def on_synthetic_data(self) -> "Labels":
        """See Targets."""
        return Labels(self.column, self.classes, synthetic=True)


class Embeddings(Targets):
    """The embedding of a crop by a frozen network, or by a function.

    Args:
        teacher: name of a network of timm, FILE.py:FUNCTION or MODULE:FUNCTION.
        weights: of a timm network.
        sample_rate: of audio, in Hz.

    Raises:
        InputError: for a name that timm does not know, or a function that there is not.
    """

    def __init__(self, teacher: str, weights: Path | None, sample_rate: int | None) -> None:
        self.teacher, self.weights, self.sample_rate = teacher, weights, sample_rate
        module, separator, name = teacher.rpartition(":")
        self._embed: Callable[[Embedding], Embedding]
        if separator:
            found = vars(import_target(module)).get(name)
            if not callable(found):
                raise InputError(f"expected a function {name} of {module}, got {shortened(found)}; correct the teacher")
            self._embed = found
        elif sample_rate is not None:
            raise InputError(f"expected a teacher FILE.py:FUNCTION or MODULE:FUNCTION for audio, got {teacher!r}")
        else:
            self._embed = partial(_embedded, Backbone(teacher, weights))
        example = np.zeros(AUDIO_RATE if sample_rate else (3, 64, 64), np.float32)
        example.flat[::7] = 0.1
        self.dim = 0  # not known yet
        self.dim = len(self._checked(example))

    def __call__(self, files: MediaFiles, x: Tensor, item: int) -> Embedding:
        """See Targets."""
        if self.sample_rate is None:
            return self._checked((x if x.ndim == 3 else x[:, x.shape[1] // 2]).numpy())
        return self._checked(soxr.resample(x.mean(0).numpy(), self.sample_rate, AUDIO_RATE))

    def _checked(self, x: Embedding) -> Embedding:
        try:
            found = np.asarray(self._embed(x), np.float32)
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"expected {self.teacher} to embed a crop of shape {x.shape}, got {reason}") from error
        if found.ndim != 1 or not np.isfinite(found).all():
            raise InputError(f"expected {self.teacher} to return a finite vector, got shape {found.shape}; correct it")
        if self.dim not in (0, len(found)):
            raise InputError(
                f"expected {self.teacher} to return vectors of one size, got {self.dim} and {len(found)}; correct it"
            )
        return found

    def facts(self, files: MediaFiles) -> dict[str, Any]:
        """See Targets."""
        paths = [self.weights, Path(self.teacher.rpartition(":")[0])]
        digests = [_digest(path.read_bytes()) for path in paths if path is not None and path.is_file()]
        return {"teacher": self.teacher, "weights": self.weights and str(self.weights), "digests": digests}


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()[:16]


@torch.no_grad()
def _embedded(network: Backbone, x: Embedding) -> Embedding:
    found: Embedding = network(torch.from_numpy(np.ascontiguousarray(x))[None])[0].numpy()
    return found
