"""Frequency tables for the entropy coder, counted on training data with the trained codec."""

import time
from itertools import cycle, islice
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.bitstream import FrequencyTables, IndexedTables
from narrows.bitstream.frequency_tables import integer_frequencies
from narrows.bitstream.indexed import IndexedCoder
from narrows.codecs.base import MAX_RADIX
from narrows.codecs.bottlenecks.entropy.base import SCALES, EntropyModel, scales
from narrows.codecs.bottlenecks.entropy.factorized import FactorizedPrior
from narrows.errors import InputError
from narrows.recipes.data.audio import AudioFiles
from narrows.recipes.data.files import MediaFiles
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.image import ImageTokenizer
from narrows.tokenizers.model import Model
from narrows.tokenizers.video import VideoTokenizer

TABLE_SECONDS = 4 * 3600  # seconds of audio on which tables are counted
PRIOR_COUNT = 200.0  # number of symbols that the assumed density counts for, in addition to the observed symbols
DENSITY_COUNT = 20.0  # the same of a learned density
ESCAPE = 1e-5  # probability of the escape symbol in the assumed density


def encoded(
    tokenizer: AudioTokenizer, files: AudioFiles, seconds: float = TABLE_SECONDS, deadline: float = inf
) -> list[Tensor]:
    """Codes (G, K, F) of recordings, on which tables are fitted.

    Args:
        tokenizer: Tokenizer of the trained codec.
        files: Recordings with the channels and at the rate of the codec.
        seconds: Length of audio that is encoded, in recordings drawn from all, of 10 minutes at most each.
        deadline: Reading of `time.monotonic` after which no further recording is encoded.

    Raises:
        InputError: If no recording can be decoded.
    """
    codes, total = [], 0.0
    for _, recording in files.readable(files.shuffled()):
        codes.append(tokenizer.encode(recording, tokenizer.sample_rate).codes)
        total += recording.shape[1] / files.sample_rate
        if total > seconds or time.monotonic() > deadline:
            break
    if not codes:
        raise InputError("expected recordings that can be decoded, got none; give other training data")
    return codes


def fit_entropy_model_tables(
    tokenizer: ImageTokenizer | VideoTokenizer, images: MediaFiles, count: int, deadline: float = inf
) -> FrequencyTables:
    """Count frequency tables of an entropy model's symbols at qualities from its whole range.

    Encoding may use the tables (RDO rounding), so tables are first counted on a quarter of the images without tables,
    then on all with these tables.

    Args:
        tokenizer: Tokenizer of a codec whose bottleneck is an entropy model; its tables are replaced.
        images: Images or clips to encode.
        count: Number of images that are encoded, drawn from all; if there are fewer, they are encoded several times, at
            other qualities.
        deadline: Reading of `time.monotonic` after which no further image is encoded.

    Raises:
        InputError: The bottleneck is not an entropy model.
    """
    model = tokenizer.codec.bottleneck
    if not isinstance(model, EntropyModel):
        raise InputError(f"expected a codec with an entropy model, got one with {type(model).__name__}")
    tokenizer.tables = None
    now = time.monotonic()
    tokenizer.tables = _count(tokenizer, model, images, -(-count // 4), now + (deadline - now) / 5)
    return _count(tokenizer, model, images, count, deadline)


def _count(
    tokenizer: ImageTokenizer | VideoTokenizer, model: EntropyModel, images: MediaFiles, count: int, deadline: float
) -> FrequencyTables:
    """Count the symbols of `count` images as the tokenizer encodes them."""
    has_scales = not isinstance(model, FactorizedPrior)
    assumed = [_assumed(index, size, has_scales) for index, size in enumerate(model.table_sizes)]
    counts = [PRIOR_COUNT * table for table in assumed]
    uniform = FrequencyTables(tuple(integer_frequencies(table) for table in assumed))
    indices = islice(cycle(images.shuffled()), count)
    for position, (_, pixels) in enumerate(images.readable(indices)):
        quality_index = position * (model.qualities - 1) // max(1, count - 1)
        tokens = tokenizer.encode_at(pixels, quality_index)
        coder = IndexedCoder(IndexedTables(uniform, model.choose), len(model.codebook_sizes), MAX_RADIX, quality_index)
        for codes in tokens.codes.split(tokens.steps, 2):  # those of a chunk are coded together
            _add(counts, coder, codes)
        if time.monotonic() > deadline:
            break
    return FrequencyTables(tuple(integer_frequencies(_symmetric(table)) for table in counts))


def fit_code_tables(model: Model, codes: Tensor) -> FrequencyTables:
    """Frequency tables of a model with one quality, fitted on codes (N, K, *grid) of training data.

    For a FactorizedPrior the learned densities are what is assumed before symbols are counted, and tables need not be
    symmetric.
    """
    entropy_model = model.entropy_model
    if entropy_model is None:
        return model.fit_tables(codes)
    if not isinstance(entropy_model, FactorizedPrior):
        raise InputError(f"expected a FactorizedPrior or codebooks, got {type(entropy_model).__name__}")
    reach = entropy_model.table_sizes[0] // 2 - 1
    with torch.no_grad():
        symbols = torch.arange(-reach, reach + 1.0, device=model.device)
        p = entropy_model.density(symbols.expand(1, entropy_model.dim, -1))[0].cpu().double().numpy()
    p = np.append(p / p.sum(1, keepdims=True) * (1 - ESCAPE), np.full((len(p), 1), ESCAPE), 1)
    counts = [DENSITY_COUNT * row for row in p]
    uniform = FrequencyTables(tuple(integer_frequencies(np.ones(size)) for size in entropy_model.table_sizes))
    coder = IndexedCoder(IndexedTables(uniform, entropy_model.choose), entropy_model.dim, MAX_RADIX, 0)
    _add(counts, coder, codes.cpu())
    return FrequencyTables(tuple(integer_frequencies(count) for count in counts))


def _add(counts: list[NDArray[np.float64]], coder: IndexedCoder, codes: Tensor) -> None:
    """Add the symbols of codes (G, K, *grid), which are coded together, to the counts of their tables."""
    with torch.inference_mode():
        for coded in coder.symbols_by_table(codes.numpy()):
            if coded.table >= 0:
                counts[coded.table] += np.bincount(coded.symbols, minlength=len(counts[coded.table]))


def _assumed(index: int, size: int, has_scales: bool) -> NDArray[np.float64]:
    """Assumed probabilities of the symbols -c to c and of the escape symbol, before symbols are counted."""
    symbols = np.arange(size - 1) - (size // 2 - 1)
    if has_scales and index < SCALES:
        edges = torch.from_numpy(np.append(symbols - 0.5, symbols[-1] + 0.5) / scales()[index])
        p = torch.special.ndtr(edges).diff().numpy() + 1e-7
    else:
        p = 0.5 ** np.abs(symbols).astype(np.float64)
    return np.append(p / p.sum() * (1 - ESCAPE), ESCAPE)


def _symmetric(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace the counts of s and -s by their mean; the count of the escape symbol stays."""
    inner = counts[:-1]
    return np.append((inner + inner[::-1]) / 2, counts[-1])
