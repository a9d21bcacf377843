"""Frequency tables for a finished model, fitted on media of its user: `codec fit-tables`."""

from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from narrows.bitstream import FrequencyTables, PredictedTables
from narrows.errors import InputError
from narrows.recipes.data.audio import AudioFiles
from narrows.recipes.data.files import MediaFiles
from narrows.recipes.data.images import ImageFiles
from narrows.recipes.data.videos import VideoFiles
from narrows.recipes.settings import Prediction
from narrows.recipes.training.fit_predicted import digits_of, fit_predicted_tables
from narrows.recipes.training.fit_tables import TABLE_SECONDS, encoded, fit_entropy_model_tables
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.tokenizer import Tokenizer

MAX_ITEMS = 2000  # images or clips that are encoded
CLIP_RATE = 25  # frames per second; codes do not depend on it


def fit_tables(
    tokenizer: Tokenizer, data: Path | tuple[Path, ...], prediction: Prediction | None = None
) -> FrequencyTables | PredictedTables:
    """Fit frequency tables for entropy coding on media, which are encoded with the model.

    Args:
        tokenizer: the model; it is not changed.
        data: folder of media, or another source that `codec tokenize` reads, or several. At most 4 hours of audio, 2000
            images or clips are encoded, drawn from all.
        prediction: audio: networks that predict the frequencies from earlier codes; None for fixed tables.

    Raises:
        InputError: for a model with continuous latents, networks for another medium than audio, and for data without
            media that can be read.
    """
    if not tokenizer.codebooks:
        raise InputError(f"expected a model with codes, got {tokenizer.name}, whose latents are continuous")
    medium, tables = tokenizer.medium.name, tokenizer.tables
    if prediction is not None and prediction.steps and medium != "audio":
        raise InputError(f"expected a model of audio for networks that predict frequencies, got one of {medium}")
    files = _files(tokenizer, data)
    try:
        if tokenizer.entropy_model is not None:
            return fit_entropy_model_tables(cast(Any, tokenizer), files, min(MAX_ITEMS, 4 * len(files)))
        if medium == "audio":
            codes = encoded(cast(AudioTokenizer, tokenizer), cast(AudioFiles, files), TABLE_SECONDS)
        else:
            codes = _codes(tokenizer, files)
    finally:
        tokenizer.tables = tables
    if prediction is not None and prediction.steps:
        recordings = [group for recording in codes for group in recording]
        return fit_predicted_tables(recordings, digits_of(tokenizer.codec.bottleneck), prediction)
    return tokenizer.fit_tables(torch.cat([each.flatten(2).transpose(0, 1).flatten(1)[None] for each in codes], 2))


def _files(tokenizer: Tokenizer, data: Path | tuple[Path, ...]) -> MediaFiles:
    if tokenizer.medium.name == "audio":
        return AudioFiles(data, cast(int, tokenizer.sample_rate), tokenizer.codec.channels)
    return {"image": ImageFiles, "video": VideoFiles}[tokenizer.medium.name](data)


def _codes(tokenizer: Tokenizer, files: MediaFiles) -> list[Tensor]:
    """Codes (G, K, *grid) of images or clips."""
    rate = (CLIP_RATE,) if tokenizer.medium.name == "video" else ()
    items = islice(files.readable(files.shuffled()), MAX_ITEMS)
    if not (codes := [tokenizer.encode(item, *rate).codes for _, item in items]):
        raise InputError("expected media that can be decoded, got none; give other data")
    return codes
