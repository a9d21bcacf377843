"""What a checkpoint folder holds: a network with codes inside, with a name, a fingerprint and frequency tables."""

from abc import ABC
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from narrows.bitstream import (
    FrequencyTables,
    IndexedTables,
    PredictedTables,
    Tables,
    alphabet_sizes,
    codes_to_symbols,
)
from narrows.codecs.bottlenecks.entropy.base import EntropyModel
from narrows.codecs.codec import Codec
from narrows.codecs.image.narrowed import ClassifyingCodec
from narrows.errors import WrongModel
from narrows.parts import spec
from narrows.tokenizers.fingerprint import Fingerprint
from narrows.tokenizers.tokens import plain


@dataclass(frozen=True)
class Base:
    """The model whose networks a Re-Bottleneck stands around.

    Args:
        model: what `narrows.load` takes for it: a name, an absolute path or a hub repository.
        fingerprint: of that model.
        digest: of the weights that it was loaded with, see `base_digest`.
    """

    model: str
    fingerprint: str
    digest: str


class Model(ABC):
    """A network and what its streams need. A subclass is a part whose arguments describe it.

    Args:
        codec: the network, which has a `bottleneck`. It is not copied, and put into eval mode.

    Attributes:
        codec: the network.
        name: name of the model, stored in tokens and streams.
        tables: frequency tables for entropy coding; None for raw streams of fixed code lengths.
        folder: the checkpoint folder that it was loaded from; None for one that was made.
        weights_file: of a public checkpoint of another library, the file of its weights.
        origin: what `narrows.load` was given for it, a folder as an absolute path; None for one that was made.
        base: for a Re-Bottleneck around a loaded model, that model.
    """

    codec: Codec | ClassifyingCodec

    def __init__(self, codec: Codec | ClassifyingCodec) -> None:
        self.codec = codec.eval()
        self.name = "custom"
        self.tables: FrequencyTables | PredictedTables | None = None
        self.folder: Path | None = None
        self.weights_file: Path | None = None
        self.origin: str | None = None
        self.base: Base | None = None
        self._fingerprint = Fingerprint()

    @property
    def device(self) -> torch.device:
        """The device of the codec."""
        return next(self.codec.parameters()).device

    @property
    def entropy_model(self) -> EntropyModel | None:
        """The bottleneck if it is an entropy model, otherwise None."""
        bottleneck = self.codec.bottleneck
        return bottleneck if isinstance(bottleneck, EntropyModel) else None

    @property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the description (`spec`) and the weights as float32.

        It is computed again after weights were replaced or changed in place; see `Fingerprint`.
        """
        return self._fingerprint.of(self.codec, spec(self))

    @property
    def coding_tables(self) -> Tables | None:
        """Tables for the entropy coder, for an entropy model with the function that chooses a table per symbol."""
        model = self.entropy_model
        if model is None or self.tables is None:
            return self.tables
        assert isinstance(self.tables, FrequencyTables)
        return IndexedTables(self.tables, model.choose)

    def fit_tables(self, codes: Tensor) -> FrequencyTables:
        """Frequency tables for entropy coding, fitted on codes (N, K, *grid) of training data."""
        radices = self.codec.bottleneck.radices
        return FrequencyTables.fit(codes_to_symbols(codes.cpu().numpy(), radices), alphabet_sizes(radices))

    def check_model(self, model: str, fingerprint: str) -> None:
        """Raise WrongModel unless name and fingerprint are those of this model."""
        if (model, fingerprint) != (self.name, self.fingerprint):
            other = "other weights" if model == self.name else "that model"
            raise WrongModel(
                f"expected {self.name} ({self.fingerprint}), got data of {plain(model)} ({plain(fingerprint)}); load "
                f"{other} (-m FOLDER on the command line)"
            )
