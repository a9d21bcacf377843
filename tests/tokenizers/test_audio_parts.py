import numpy as np
import pytest
import torch

import narrows
from narrows.codecs import FSQ, Codec, FrameDecoder, FrameEncoder
from narrows.errors import InputError
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.audio_parts import source_of

RATE = 16_000
PARTS = [(0, None), (0, 0.01), (0.5, 0.75), (1.03, 2.9), (2.2, None)]


@pytest.fixture(scope="module")
def tokenizer() -> AudioTokenizer:
    torch.manual_seed(0)
    codec = Codec(FrameEncoder(8, 16, 1), FSQ(8, (5, 5), 3), FrameDecoder(8, 16, 1, iterations=2))
    return AudioTokenizer(codec, RATE)


def bounds(part: tuple[float, float | None], rate: int, samples: int) -> slice:
    start, stop = part
    return slice(round(start * rate), samples if stop is None else round(stop * rate))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_part_equals_that_of_the_whole(tokenizer: AudioTokenizer, part: tuple[float, float], channels: int) -> None:
    x = np.random.default_rng(0).normal(0, 0.1, (channels, 3 * RATE + 77)).astype(np.float32)
    tokens = tokenizer.encode(x, RATE)
    whole = tokenizer.decode(tokens)[:, bounds(part, RATE, x.shape[1])]
    found = tokenizer.decode(tokens, *part)
    torch.testing.assert_close(found, whole, atol=1e-6, rtol=0)
    blocks = list(tokenizer.decode_blocks(tokens, *part))
    assert sum(block.shape[1] for block in blocks) == found.shape[1]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
def test_a_part_of_a_resampled_recording(tokenizer: AudioTokenizer, part: tuple[float, float], rate: int) -> None:
    x = np.random.default_rng(0).normal(0, 0.1, (1, 3 * rate + 77)).astype(np.float32)
    tokens = tokenizer.encode(x, rate)
    whole = tokenizer.decode(tokens)[:, bounds(part, rate, x.shape[1])]
    torch.testing.assert_close(tokenizer.decode(tokens, *part), whole, atol=2e-6, rtol=0)


def test_only_the_needed_frames_are_decoded(tokenizer: AudioTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, decoded = tokenizer.encode(np.zeros(60 * RATE, np.float32), RATE), []
    decode = tokenizer.codec.decode
    monkeypatch.setattr(tokenizer.codec, "decode", lambda codes: decoded.append(codes.shape[2]) or decode(codes))
    tokenizer.decode(tokens, 30, 31)
    reach = sum(tokenizer.codec.decoder.reach[0] or ())
    assert sum(decoded) <= 2 * (50 + reach + 40)


@pytest.mark.parametrize("part", [(1, 1), (2, 1), (-1, 1), (0, 4), (3.1, None), (float("nan"), 1), ("a", 1), (0, "b")])
def test_parts_outside_of_the_recording_are_refused(tokenizer: AudioTokenizer, part: tuple[float, float]) -> None:
    tokens = tokenizer.encode(np.zeros(3 * RATE, np.float32), RATE)
    with pytest.raises(
        InputError, match=r"expected (a part of 0 to 3 s|start and stop in seconds|sto?[ap][a-z]* as a number)"
    ):
        tokenizer.decode(tokens, *part)


@pytest.mark.parametrize(("rate", "source_rate"), [(44_100, 16_000), (8_000, 16_000), (48_000, 44_100), (7, 5)])
def test_sources_start_at_a_common_sample(rate: int, source_rate: int) -> None:
    for first, last in ((0, 1), (12_345, 23_456), (999_999, 1_000_000)):
        source, skipped = source_of(first, last, rate, source_rate, 10**9)
        assert source.start * rate % source_rate == 0
        assert source.start * rate // source_rate + skipped == first
        assert source.stop * rate >= last * source_rate


def test_progress_of_decoding_ends_with_one(tmp_path) -> None:
    tokenizer, seen = narrows.load("speech"), list[float]()
    tokenizer.window_seconds = 0.5
    tokens = tokenizer.encode(np.zeros(320_000, np.float32), 16_000)
    tokenizer.decode_file(tokens, tmp_path / "a.wav", progress=seen.append)
    assert seen == sorted(seen)
    assert len(seen) > 1
    assert seen[-1] == 1.0
    seen.clear()
    tokenizer.decode_file(tokens, tmp_path / "b.wav", progress=seen.append, start=1.0, stop=2.0)
    assert seen[-1] == 1.0
