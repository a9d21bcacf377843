"""Trains the networks that predict the frequencies of codes (bitstream/predicted.py), after the codec is trained."""

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from narrows.bitstream import predicted
from narrows.bitstream.limits import MAX_DIGITS
from narrows.bitstream.predicted import CodebookNetwork, PredictedCoder, PredictedTables
from narrows.codecs.base import Bottleneck
from narrows.codecs.bottlenecks.fsq import ScalarGroups
from narrows.errors import InputError
from narrows.recipes.settings import Prediction

LR, WEIGHT_DECAY = 3e-3, 0.01
BATCH_SIZE = 1024  # frames per step
EMBEDDING_UNIT, WEIGHT_UNIT = 2.0**5, 2.0**12  # integers per 1
INPUT_UNIT, SUM_UNIT = 2.0**17, 2.0**20  # of biases: of the first layer, and of the others
MAX_ACTIVATION = 2.0 ** (predicted.ACTIVATION_BITS - 8)
GAP = predicted.MARGIN  # frames without codes between two recordings
STAGE_FRACTIONS = (1 / 8, 1 / 8, 1 / 4, 1 / 2)  # of frames
MEASURED_FRAMES = 20_000  # on which the mean lengths of codes are measured
CHUNK = 500  # frames of a chunk when they are measured


class ContextNetworks(nn.Module):
    """The networks of all codebooks in floating point, for training.

    Args:
        digits: Alphabet sizes of the digits of each codebook.
        width: Channels H of both hidden layers.
        dim: Channels E of an embedded code.
    """

    def __init__(self, digits: Sequence[Sequence[int]], width: int, dim: int) -> None:
        super().__init__()
        self.digits, self.width, self.dim = digits, width, dim
        own, lower, stages = predicted.OWN * dim, len(predicted.LOWER) * dim, len(predicted.STAGES)
        symbols = [sum(each) for each in digits]
        self.embeddings = nn.Parameter(torch.cat([_initial_embedding(each, dim) for each in digits]))
        self.own = nn.ParameterList(torch.randn(stages - 1, width, own) * (own + 1) ** -0.5 for _ in digits)
        self.lower = nn.ParameterList(
            torch.randn(width, lower * k) * (own + lower * k) ** -0.5 for k in range(len(digits))
        )
        self.input_bias = nn.ParameterList(torch.zeros(stages, width) for _ in digits)
        self.hidden = [nn.Linear(width, width) for _ in digits]
        self.output = [nn.Linear(width, n) for n in symbols]
        self.layers = nn.ModuleList(self.hidden + self.output)
        alphabets = [size for each in digits for size in each]
        self.register_buffer("first_row", torch.tensor([0, *np.cumsum(alphabets)[:-1].tolist()]))
        self.register_buffer("codebook", torch.arange(len(digits)).repeat_interleave(torch.tensor([*map(len, digits)])))

    first_row: Tensor
    codebook: Tensor

    def embed(self, values: Tensor) -> Tensor:
        """Embed digits (..., all digits), -1 where there is no code, to (..., K, E)."""
        rows = self.embeddings[(values + self.first_row).clamp(min=0)] * (values >= 0).unsqueeze(-1)
        return rows.new_zeros(*values.shape[:-1], len(self.digits), self.dim).index_add_(-2, self.codebook, rows)

    def forward(self, stage: int, own: Tensor, lower: Tensor) -> list[Tensor]:
        """Logits in bits (n, symbols) of each codebook, for embedded codes own (n, K, 4, E) and lower (n, K, 5, E)."""
        logits = []
        for k in range(len(self.digits)):
            x = self.input_bias[k][stage].expand(len(own), -1)
            if stage:
                x = x + own[:, k].flatten(1) @ self.own[k][stage - 1].T
            if k:
                x = x + lower[:, :k].flatten(1) @ self.lower[k].T
            x = self.hidden[k](x.clamp(0, MAX_ACTIVATION)).clamp(0, MAX_ACTIVATION)
            logits.append(self.output[k](x))
        return logits

    def bits(self, values: Tensor, places: Sequence[Tensor]) -> Tensor:
        """Bits (K,) of the codes at `places`, frames (n,) for each stage, summed; `values` (frames, all digits)."""
        bits = torch.zeros(len(self.digits))
        for stage, (frames, (_, _, offsets)) in enumerate(zip(places, predicted.STAGES, strict=True)):
            own, lower = (
                self.embed(values[frames[:, None] + torch.tensor(each, dtype=torch.int64)]).transpose(1, 2)
                for each in (offsets, predicted.LOWER)
            )
            targets = values[frames].split([*map(len, self.digits)], 1)
            for k, (logits, target) in enumerate(zip(self(stage, own, lower), targets, strict=True)):
                for part, symbol in zip(logits.split(list(self.digits[k]), 1), target.unbind(1), strict=True):
                    bits[k] = bits[k] + nn.functional.cross_entropy(part * math.log(2), symbol, reduction="sum")
        return bits / math.log(2)

    def quantize(self, lengths: NDArray[np.int32]) -> PredictedTables:
        """The networks in integers."""
        symbols = [sum(each) for each in self.digits]
        networks = []
        for k, embeddings in enumerate(self.embeddings.split(symbols)):
            first = torch.cat((*self.own[k].unbind(0), self.lower[k]), 1)
            weights, input_shifts = _rows(first)
            stages = len(self.own[k])
            own, lower = np.split(weights, [stages * predicted.OWN * self.dim], 1)
            hidden, hidden_shifts = _rows(self.hidden[k].weight)
            output, output_shifts = _rows(self.output[k].weight)
            networks.append(
                CodebookNetwork(
                    _integers(embeddings * EMBEDDING_UNIT, np.int8),
                    own.reshape(self.width, stages, -1).transpose(1, 0, 2).copy(),
                    lower.copy(),
                    input_shifts,
                    _integers(self.input_bias[k] * INPUT_UNIT, np.int32),
                    hidden,
                    hidden_shifts,
                    _integers(self.hidden[k].bias * SUM_UNIT, np.int32),
                    output,
                    output_shifts,
                    _integers(self.output[k].bias * SUM_UNIT, np.int32),
                )
            )
        return PredictedTables(tuple(map(tuple, self.digits)), tuple(networks), lengths)


def digits_of(bottleneck: Bottleneck) -> tuple[tuple[int, ...], ...]:
    """Alphabet sizes of the digits into which codes are split: the levels of FSQ, else those of fixed tables."""
    levels = bottleneck.levels if isinstance(bottleneck, ScalarGroups) else ()
    fit = levels and all(len(each) <= MAX_DIGITS for each in levels)
    return levels if fit else bottleneck.radices


def fit_predicted_tables(
    recordings: Sequence[Tensor],
    digits: Sequence[Sequence[int]],
    settings: Prediction,
    seed: int = 0,
    deadline: float = math.inf,
) -> PredictedTables:
    """Train networks that predict frequencies on the codes of recordings.

    Args:
        recordings: Codes (K, F) of each recording, of one group of channels.
        digits: Alphabet sizes of the digits of each codebook, the least significant first.
        settings: Steps and sizes of the networks.
        seed: Seed of initial weights and batches.
        deadline: Reading of `time.monotonic` after which the training ends.

    Raises:
        InputError: For recordings without a frame.
    """
    if not sum(each.shape[1] for each in recordings):
        raise InputError("expected recordings of at least one frame, got none; give other training data")
    values, stages = _frames(recordings, digits)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        networks = ContextNetworks(digits, settings.width, settings.dim)
    sizes = [max(1, round(BATCH_SIZE * fraction)) for fraction in STAGE_FRACTIONS]
    optimizer = torch.optim.AdamW(networks.parameters(), LR, weight_decay=WEIGHT_DECAY)
    for step in range(settings.steps):
        if time.monotonic() > deadline:
            break
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1, (step + 1) / 100) * (1 - step / settings.steps)
        drawn = zip(stages, sizes, strict=True)
        places = [
            frames[torch.randint(len(frames), (size,), generator=generator)] for frames, size in drawn if len(frames)
        ]
        places += [frames for frames in stages if not len(frames)]
        loss = networks.bits(values, places).sum() / sum(map(len, places))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        tables = networks.quantize(np.zeros(len(digits), np.int32))
    return PredictedTables(tables.digits, tables.networks, _measured_lengths(tables, recordings))


def _measured_lengths(tables: PredictedTables, recordings: Sequence[Tensor]) -> NDArray[np.int32]:
    """Mean length of a code of each codebook in 1/256 bit."""
    coder, bits, frames = PredictedCoder(tables, len(tables.networks)), np.zeros(len(tables.networks)), 0
    order = np.random.default_rng(0).permutation(len(recordings))
    for index in order.tolist():
        for chunk in recordings[index].split(CHUNK, 1):
            bits += coder.bits(chunk[None].numpy())
            frames += chunk.shape[1]
        if frames > MEASURED_FRAMES:
            break
    lengths: NDArray[np.int32] = np.round(bits / frames * predicted.CODE_BITS).astype(np.int32)
    return lengths


def _frames(recordings: Sequence[Tensor], digits: Sequence[Sequence[int]]) -> tuple[Tensor, list[Tensor]]:
    """All recordings in one array of digits (frames, all digits), -1 between them, and the frames of each stage."""
    period, parts, firsts, position = predicted.PERIOD, list[Tensor](), list[tuple[int, int]](), 0
    gap = torch.full((GAP, sum(map(len, digits))), -1)
    for codes in recordings:
        parts += [gap, _split(codes, digits)]
        firsts.append((position + GAP, codes.shape[1]))
        position += GAP + codes.shape[1]
    places = [np.arange(length) for _, length in firsts]
    frames = np.concatenate([first + place for (first, _), place in zip(firsts, places, strict=True)])
    phase = np.concatenate(places) % period
    chosen = [np.isin(phase, np.arange(first, period, step)) for first, step, _ in predicted.STAGES]
    return torch.cat((*parts, gap)), [torch.from_numpy(frames[each]) for each in chosen]


def _split(codes: Tensor, digits: Sequence[Sequence[int]]) -> Tensor:
    """Codes (K, F) to digits (F, all digits)."""
    columns = []
    for rest, sizes in zip(codes.long().unbind(0), digits, strict=True):
        for size in sizes:
            columns.append(rest % size)
            rest = rest // size
    return torch.stack(columns, 1)


def _initial_embedding(digits: Sequence[int], dim: int) -> Tensor:
    """Random, except that channel d of digit d rises with its value, as the levels of FSQ do."""
    rows = []
    for place, size in enumerate(digits):
        row = torch.randn(size, dim) * 0.3
        row[:, place % dim] = torch.linspace(-1, 1, size) if size > 1 else 0.0
        rows.append(row)
    return torch.cat(rows)


def _rows(weight: Tensor) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Weights as int8, with the number of bits by which each row is shifted left."""
    scaled = weight.double() * WEIGHT_UNIT
    largest = scaled.abs().amax(1).clamp(min=1.0)
    shifts = (largest / 127).log2().ceil().clamp(0, predicted.MAX_SHIFT)
    return _integers(scaled / shifts.exp2()[:, None], np.int8), shifts.detach().numpy().astype(np.int8)


def _integers(x: Tensor, dtype: type[Any]) -> NDArray[Any]:
    limits = np.iinfo(dtype)
    return x.detach().double().round().clamp(-limits.max, limits.max).numpy().astype(dtype)
