"""An encoder that pads by itself gets the end of a recording as it is, in windows and batches too."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from narrows.codecs import FSQ, Codec, Decoder, Encoder
from narrows.codecs.causal import Span
from narrows.codecs.layers.reflected import ReflectedConv
from narrows.tokenizers.audio import AudioTokenizer

RATE, STRIDE = 8_000, 4
LENGTHS = (1, 3, 4, 77, 400, 401, 402, 403, 1201, 1999)


class Reflecting(Encoder):
    """Two convolutions that are reflected at the ends."""

    any_length, channels, dim, stride = True, 1, 6, (STRIDE,)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(ReflectedConv(1, 8, 7), nn.ELU(), ReflectedConv(8, 6, 2 * STRIDE, STRIDE))

    @property
    def reach(self) -> tuple[tuple[int, int]]:
        return (Span(0, 0).finer(STRIDE).grown(STRIDE).grown(6).reach(STRIDE),)

    def forward(self, x: Tensor) -> Tensor:
        self.check_signal(x)
        return self.layers(x)


class Holding(Decoder):
    """Each latent, repeated."""

    channels, dim, stride, reach = 1, 6, (STRIDE,), ((0, 0),)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        return z.mean(1, keepdim=True).repeat_interleave(STRIDE, 2)


@pytest.fixture
def tokenizer(monkeypatch: pytest.MonkeyPatch) -> AudioTokenizer:
    monkeypatch.setattr(AudioTokenizer, "fingerprint", "0" * 16)  # of parts that are not registered
    torch.manual_seed(0)
    return AudioTokenizer(Codec(Reflecting(), FSQ(6, (5, 5, 5), 2), Holding()).eval(), RATE)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("seconds", [10.0, 0.02])
def test_codes_are_those_of_the_whole(tokenizer: AudioTokenizer, seconds: float, batch: int) -> None:
    tokenizer.window_seconds, tokenizer.batch = seconds, batch
    signals = [np.random.default_rng(n).normal(0, 1, (1, n)).astype(np.float32) for n in LENGTHS]
    assert (tokenizer.window > max(LENGTHS) // STRIDE) == (seconds == 10)
    for x, tokens in zip(signals, tokenizer.encode_batch(signals, RATE), strict=True):
        with torch.no_grad():
            whole = tokenizer.codec.encode(torch.from_numpy(x)[None])
        assert torch.equal(tokens.codes, whole)
        for samples in (x.shape[1], None):
            blocks = np.array_split(x, -(-x.shape[1] // 150), 1)
            assert torch.equal(tokenizer.encode_blocks(blocks, samples, RATE).codes, whole)
        assert tokenizer.decode(tokens).shape == x.shape


def test_zeros_at_the_end_would_give_other_codes(tokenizer: AudioTokenizer) -> None:
    x = np.random.default_rng(0).normal(0, 1, (1, 402)).astype(np.float32)
    codes = tokenizer.encode(x, RATE).codes
    padded = tokenizer.encode(np.pad(x, ((0, 0), (0, 2))), RATE).codes
    assert codes.shape == padded.shape
    assert not torch.equal(codes, padded)
