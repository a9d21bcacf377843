"""Segments: lengths, overlaps, scales, parts, batches, streams, errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import narrows
from narrows.codecs import Codec, EnCodecDecoder, EnCodecEncoder, ResidualVQ
from narrows.errors import InputError
from narrows.tokenizers.audio_segments import SegmentedAudioTokenizer

RATE, SEGMENT, HOP, STRIDE = 8_000, 240, 200, 12
SIZES = (8, 4, (3, 4), False, True, True, 2)
LENGTHS = (1, 11, 12, 200, 201, 239, 240, 241, 400, 405, 1000, 1003)


@pytest.fixture(scope="module")
def tokenizer() -> SegmentedAudioTokenizer:
    torch.manual_seed(0)
    codec = Codec(EnCodecEncoder(*SIZES), ResidualVQ(8, 3, 32, 8), EnCodecDecoder(*SIZES))
    return SegmentedAudioTokenizer(codec.eval(), RATE, SEGMENT, HOP)


def noise(samples: int, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(samples).normal(0, 0.1, (channels, samples)).astype(np.float32)


@torch.no_grad()
def by_definition(tokenizer: SegmentedAudioTokenizer, x: Tensor) -> tuple[Tensor, Tensor]:
    """Codes, and the decoded signal, of a stereo signal."""
    codes, out, total = [], torch.zeros(2, x.shape[1] + SEGMENT), torch.zeros(x.shape[1] + SEGMENT)
    for offset in range(0, x.shape[1], HOP):
        segment = x[:, offset : offset + SEGMENT]
        scale = segment.mean(0).square().mean().sqrt() + 1e-8
        codes.append(tokenizer.codec.encode(segment[None] / scale)[0])
        decoded = tokenizer.codec.decode(codes[-1][None])[0] * scale
        length = codes[0].shape[1] * STRIDE
        times = torch.arange(1, length + 1) / (length + 1)
        weights = (0.5 - (times - 0.5).abs())[: decoded.shape[1]]
        out[:, offset : offset + decoded.shape[1]] += decoded * weights
        total[offset : offset + decoded.shape[1]] += weights
    return torch.cat(codes, 1), (out / total)[:, : x.shape[1]]


@pytest.mark.parametrize("samples", LENGTHS)
def test_codes_and_signals_are_those_of_the_definition(tokenizer: SegmentedAudioTokenizer, samples: int) -> None:
    x = noise(samples)
    codes, expected = by_definition(tokenizer, torch.from_numpy(x))
    tokens = tokenizer.encode(x, RATE)
    assert torch.equal(tokens.codes[0], codes)
    assert tokens.codes.shape[2] == tokenizer.frames(samples, RATE)
    torch.testing.assert_close(tokenizer.decode(tokens), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("rate", [RATE, 11_025])
def test_streams_of_any_channels_and_rate(tokenizer: SegmentedAudioTokenizer, channels: int, rate: int) -> None:
    x = noise(1500, channels)
    tokens = tokenizer.encode(x, rate)
    assert len(tokens.codes) == (channels + 1) // 2
    again = tokenizer.decompress(tokenizer.compress(tokens))
    assert again == tokens
    decoded = tokenizer.decode(again)
    assert decoded.shape == x.shape
    assert torch.equal(decoded, tokenizer.decode(tokens))
    assert tokenizer.decode(tokens[:, :1]).shape == x.shape


def test_batches_and_blocks_equal_single_recordings(tokenizer: SegmentedAudioTokenizer) -> None:
    signals = [noise(samples) for samples in LENGTHS]
    single = [tokenizer.encode(x, RATE) for x in signals]
    batched = replace_batch(tokenizer, 4).encode_batch(signals, RATE)
    for x, one, other in zip(signals, single, batched, strict=True):
        assert torch.equal(one.codes, other.codes)
        assert one.attachments == other.attachments
        for samples in (x.shape[1], None):
            blocks = np.array_split(x, -(-x.shape[1] // 130), 1)
            assert tokenizer.encode_blocks(blocks, samples, RATE) == one


def replace_batch(tokenizer: SegmentedAudioTokenizer, batch: int) -> SegmentedAudioTokenizer:
    """The same tokenizer with another batch size."""
    other = SegmentedAudioTokenizer(tokenizer.codec, RATE, SEGMENT, HOP)
    other.batch = batch
    return other


@pytest.mark.parametrize("rate", [RATE, 11_025])
@pytest.mark.parametrize("part", [(0, None), (0, 0.01), (0.024, 0.026), (0.025, 0.05), (0.11, 0.1251), (0.12, None)])
def test_a_part_equals_that_of_the_whole(tokenizer: SegmentedAudioTokenizer, part: tuple, rate: int) -> None:
    x = noise(rate // 8 + 5)
    tokens = tokenizer.encode(x, rate)
    start, stop = part
    expected = tokenizer.decode(tokens)[:, round(start * rate) : x.shape[1] if stop is None else round(stop * rate)]
    torch.testing.assert_close(tokenizer.decode(tokens, *part), expected, atol=2e-6, rtol=0)


def test_loudness_is_in_the_scales_alone(tokenizer: SegmentedAudioTokenizer) -> None:
    x = noise(1000)
    loud, quiet = tokenizer.encode(x, RATE), tokenizer.encode(x / 64, RATE)
    assert torch.equal(loud.codes, quiet.codes)
    torch.testing.assert_close(tokenizer.decode(quiet) * 64, tokenizer.decode(loud), atol=1e-5, rtol=1e-4)
    assert not tokenizer.decode(tokenizer.encode(0 * x, RATE)).abs().max() > 1e-6


def test_lost_chunks_are_recovered_with_their_scales(tokenizer: SegmentedAudioTokenizer) -> None:
    data = bytearray(tokenizer.compress(tokenizer.encode(noise(2000), RATE)))
    scales = tokenizer.decompress(bytes(data)).attachments["scales"]
    assert tokenizer.recover(bytes(data))[0].attachments["scales"] == scales
    place = bytes(data).index(scales)
    data[place] ^= 1
    tokens, spans = tokenizer.recover(bytes(data))
    assert tokens.attachments["scales"] == np.ones(10, "<f4").tobytes()
    assert spans == []
    assert tokenizer.decode(tokens).isfinite().all()


def test_tokens_without_their_scales_are_refused(tokenizer: SegmentedAudioTokenizer) -> None:
    tokens = tokenizer.encode(noise(1000), RATE)
    assert len(tokens.attachments["scales"]) == 4 * 5
    for scales in ({}, {"scales": bytes(16)}):
        with pytest.raises(InputError, match="expected 20 bytes as the attachment 'scales', got"):
            tokenizer.decode(replace(tokens, attachments=scales))
    with pytest.raises(InputError, match="expected finite numbers"):
        tokenizer.decode(replace(tokens, attachments={"scales": b"\xff" * 20}))
    with pytest.raises(InputError, match=r"expected \d+ frames"):
        tokenizer.decode(replace(tokens, codes=tokens.codes[:, :, 1:]))


def test_data_sets_refuse_it(tokenizer: SegmentedAudioTokenizer, tmp_path) -> None:
    pytest.importorskip("pyarrow")
    from narrows.datasets.tokenize import Task, tokenize

    narrows.save(tmp_path / "model", tokenizer)
    assert narrows.load(tmp_path / "model").fingerprint == tokenizer.fingerprint
    (tmp_path / "in").mkdir()
    narrows.media.audio.write(tmp_path / "in" / "x.wav", [noise(100)], RATE)
    with pytest.raises(InputError, match="whose tokens have scales too"):
        tokenize(Task(tmp_path / "in", tmp_path / "model", tmp_path / "out"))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((241, 200), "expected a segment that is a multiple of 12 samples, got 241"),
        ((0, 0), "expected a segment that is a multiple"),
        ((240, 119), "expected a hop from 120 to 240 samples, got 119"),
        ((240, 241), "expected a hop from 120"),
        ((240, 200.0), "expected a hop from 120"),
    ],
)
def test_wrong_numbers_are_refused(tokenizer: SegmentedAudioTokenizer, numbers: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SegmentedAudioTokenizer(tokenizer.codec, RATE, *numbers)
