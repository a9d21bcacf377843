"""Public checkpoints of other libraries as tokenizers."""

from importlib import import_module
from pathlib import Path
from typing import cast

from narrows.checkpoints.assemble import assemble, check_shapes, expected_shapes
from narrows.checkpoints.facts import facts_of
from narrows.checkpoints.families import FAMILIES
from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.releases import find_release
from narrows.checkpoints.families.source import TABLES, Source, open_source
from narrows.checkpoints.folder import read_tables
from narrows.errors import InputError, ModelError
from narrows.tokenizers.tokenizer import Tokenizer

MAX_REASON = 300  # characters of a message of another library
WRONG = (  # what a wrong config or tensor may raise, where it is used before it is checked
    *(InputError, RuntimeError, MemoryError, ArithmeticError, AssertionError),
    *(TypeError, ValueError, LookupError, AttributeError),
)


def families() -> list[Family]:
    """All families, in the order in which they are asked."""
    return [import_module(f"narrows.checkpoints.families.{name}").FAMILY for name in FAMILIES]


def family_of(source: Source) -> Family:
    """The family of a checkpoint. Raises ModelError if there is none."""
    for family in families():
        if family.recognises(source):
            return family
    known = ", ".join(family.name for family in families())
    raise ModelError(
        f"expected a checkpoint of this library or of a family that it knows ({known}), got {source.path}; its "
        "config.json belongs beside it"
    )


def read_public(path: Path) -> Tokenizer:
    """Load a checkpoint of another library: a file of weights, or a folder with one and its config.json.

    Raises ModelError for an unknown family, and with the name of a tensor that is missing, unexpected or of a wrong
    shape.
    """
    source = open_source(path)
    family = family_of(source)

    def make() -> Tokenizer:
        return family.tokenizer(source)

    try:
        expected, _ = expected_shapes(make, len(source.tensors))
        weights = family.weights(source)
        check_shapes({name: tuple(tensor.shape) for name, tensor in weights.items()}, expected, source.path)
        tokenizer = cast(Tokenizer, assemble(make, weights, source.path))
    except ModelError:
        raise
    except WRONG as error:
        reason = " ".join(str(error).split())[:MAX_REASON] or type(error).__name__
        raise ModelError(f"{source.path} is not as checkpoints of {family.name} are: {reason}") from error
    release = find_release(tokenizer.name)
    if release is not None and release.facts["parameters"] != facts_of(tokenizer)["parameters"]:
        tokenizer.name = family.name  # another model of this family
    tokenizer.folder, tokenizer.weights_file = source.path.parent, source.path
    tokenizer.tables = read_tables(source.path.parent / TABLES, tokenizer)
    return tokenizer
