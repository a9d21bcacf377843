"""Frequency tables of a finished codec, counted on training data: what its symbols are, not what they should be."""

import numpy as np
import torch
from numpy.typing import NDArray

from narrows.bitstream import Prior, Tables
from narrows.bitstream.chosen import ChosenCoder
from narrows.bitstream.tables import quantize
from narrows.codecs.base import LARGEST_DIGIT
from narrows.codecs.bottlenecks.entropy.base import SCALES, EntropyModel, scales
from narrows.codecs.bottlenecks.entropy.factorized import FactorizedPrior
from narrows.codecs.codec import Codec
from narrows.errors import InputError
from narrows.recipes.data.images import Pictures
from narrows.tokenizers.image import ImageTokenizer

PRIOR_COUNT = 200.0  # symbols that the assumed density counts for, beside those that were seen
ESCAPE = 1e-5  # share of the escape in the assumed density


def fit_chosen(codec: Codec, pictures: Pictures, count: int) -> Tables:
    """Tables for the symbols of an entropy model's codec, of `count` pictures at qualities all over its range.

    Encoding may round by the tables, so a quarter of the pictures are counted first, for tables to round by.
    """
    model = codec.bottleneck
    if not isinstance(model, EntropyModel):
        raise InputError(f"a codec with {type(model).__name__} given, one with an entropy model wanted")
    first = _counted(ImageTokenizer(codec), model, pictures, -(-count // 4))
    return _counted(ImageTokenizer(codec, tables=first), model, pictures, count)


def _counted(tokenizer: ImageTokenizer, model: EntropyModel, pictures: Pictures, count: int) -> Tables:
    """Tables for the symbols of `count` pictures, as the tokenizer encodes them."""
    has_scales = not isinstance(model, FactorizedPrior)
    assumed = [_assumed(index, size, has_scales) for index, size in enumerate(model.table_sizes)]
    seen = [PRIOR_COUNT * table for table in assumed]
    uniform = Tables(tuple(quantize(table) for table in assumed))
    for place, index in enumerate(pictures.shuffled()[:count]):
        setting = place * (model.qualities - 1) // max(1, count - 1)
        tokens = tokenizer.encode_at(pictures[index].transpose(2, 0, 1), setting)
        coder = ChosenCoder(Prior(uniform, model.choose), len(model.codebook_sizes), LARGEST_DIGIT, setting)
        with torch.inference_mode():
            for piece in coder.pieces(tokens.codes.numpy()):
                if piece.table >= 0:
                    seen[piece.table] += np.bincount(piece.symbols, minlength=len(seen[piece.table]))
    return Tables(tuple(quantize(_even(table)) for table in seen))


def _assumed(index: int, size: int, has_scales: bool) -> NDArray[np.float64]:
    """Probabilities of the symbols -c .. c and the escape, before anything was seen."""
    symbols = np.arange(size - 1) - (size // 2 - 1)
    if has_scales and index < SCALES:
        edges = torch.from_numpy(np.append(symbols - 0.5, symbols[-1] + 0.5) / scales()[index])
        p = torch.special.ndtr(edges).diff().numpy() + 1e-7
    else:
        p = 0.5 ** np.abs(symbols).astype(np.float64)
    return np.append(p / p.sum() * (1 - ESCAPE), ESCAPE)


def _even(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts with the same for -s and s."""
    inner = counts[:-1]
    return np.append((inner + inner[::-1]) / 2, counts[-1])
