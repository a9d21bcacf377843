"""What a family of public checkpoints is, and the list of those that are published."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from narrows.checkpoints.families.source import Source
from narrows.tokenizers.tokenizer import Tokenizer


class Family(ABC):
    """Public checkpoints of one architecture: how its files describe it, and where its weights go.

    Attributes:
        name: of the family.
    """

    name: ClassVar[str]

    @abstractmethod
    def recognises(self, source: Source) -> bool:
        """Whether a checkpoint is of this family, by its config and the names of its tensors."""

    @abstractmethod
    def tokenizer(self, source: Source) -> Tokenizer:
        """The tokenizer that a checkpoint describes, with any weights; its `name` is that of the release, if it is one.

        Raises InputError or ModelError for a config that this family cannot have: it comes from a file.
        """

    @abstractmethod
    def weights(self, source: Source) -> dict[str, Tensor]:
        """All tensors of the state dict of the tokenizer's codec.

        Raises ModelError that names a tensor of the checkpoint for which there is no place.
        """
