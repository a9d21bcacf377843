"""The networks of X-Codec (Ye et al., arXiv 2408.17175, section 3) and of the tokenizer of Higgs Audio v2.

          ┌─ HuBERT ─ convolutions ─┐
    x ────┤                         ├─ linear ─▶ latents ─ linear ─ DAC's decoder ─▶ x
          └───── DAC's encoder ─────┘

DAC's decoder is without its tanh, and gives all samples of an odd stride.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from narrows.codecs.audio.dac import DACEncoder, check_sizes
from narrows.codecs.audio.hubert import HOP, RATE, HuBERT
from narrows.codecs.base import Decoder, Encoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.dilated import KERNEL, DecoderStage, decoder_reach
from narrows.codecs.layers.resample import Resample
from narrows.codecs.layers.snake import Snake
from narrows.errors import InputError
from narrows.parts import part

BLOCKS = UNITS = 2  # of the convolutions on semantic features, and of each block of them


class AdapterUnit(nn.Module):
    """(B, C, F) plus ELU, a convolution of kernel 3, ELU and a pointwise convolution of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv1d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to the same shape."""
        h = self.conv1(nn.functional.elu(x))
        out: Tensor = self.conv2(nn.functional.elu(h))
        return x + out


class AdapterBlock(nn.Module):
    """(B, C, F) to the same shape: units and a convolution of kernel 3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.res_units = nn.Sequential(*(AdapterUnit(channels) for _ in range(UNITS)))
        self.conv = nn.Conv1d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to the same shape."""
        out: Tensor = self.conv(self.res_units(x))
        return out


class SemanticAdapter(nn.Module):
    """Semantic features (B, C, F) to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, padding=1, bias=False)
        self.conv_blocks = nn.Sequential(*(AdapterBlock(channels) for _ in range(BLOCKS)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to the same shape."""
        out: Tensor = self.conv_blocks(self.conv(x))
        return out


@part("xcodec-encoder")
class XCodecEncoder(Encoder):
    """Mono audio (B, 1, T), T a multiple of the stride, to latents (B, acoustic + semantic width, T / stride).

    Args:
        width: channels of the first convolution; each stage doubles them.
        strides: of the stages.
        acoustic: channels of the acoustic features.
        hubert: the semantic branch; by default a small HuBERT.
        rate: sample rate of the audio in Hz. It is resampled to 16 kHz for the semantic branch, of whose features every
            n-th is used; a latent is n × 320 samples of 16 kHz.
    """

    def __init__(
        self,
        width: int = 64,
        strides: Sequence[int] = (8, 5, 4, 2, 3),
        acoustic: int = 256,
        hubert: HuBERT | None = None,
        rate: int = 24_000,
    ) -> None:
        super().__init__()
        check_sizes(width, strides, acoustic)
        self.hubert = HuBERT() if hubert is None else hubert
        if not isinstance(self.hubert, HuBERT):
            raise InputError(f"expected a HuBERT, got {type(hubert).__name__}")
        self.resample = Resample(rate, RATE)
        self.every, rest = divmod(prod(strides) * RATE, rate * HOP)
        if rest or not self.every:
            raise InputError(f"expected strides of a multiple of {HOP * rate / RATE:g}, got {tuple(strides)}")
        self.acoustic = DACEncoder(width, strides, acoustic)
        self.channels, self.stride, self.dim = 1, (prod(strides),), acoustic + self.hubert.width
        self.adapter = SemanticAdapter(self.hubert.width)
        self.fc = nn.Linear(self.dim, self.dim)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Unbounded: semantic features attend to the whole recording."""
        return (None,)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, T) to (B, acoustic + semantic width, T / stride)."""
        self.check_signal(x)
        semantic = self.hubert(self.resample(x)[:, 0])[..., :: self.every].to(x.dtype)
        both = torch.cat([self.acoustic(x), self.adapter(semantic)], 1)
        out: Tensor = self.fc(both.transpose(1, 2))
        return out.transpose(1, 2)


@part("xcodec-decoder")
class XCodecDecoder(Decoder):
    """Latents (B, dim, F) to mono audio (B, 1, F × stride).

    Args:
        width: channels after the first convolution; each stage halves them.
        strides: of the stages.
        acoustic: channels before the first convolution, to which latents are mapped.
        dim: D of the latents.
    """

    def __init__(
        self, width: int = 1024, strides: Sequence[int] = (8, 5, 4, 2, 3), acoustic: int = 256, dim: int = 1024
    ) -> None:
        super().__init__()
        check_sizes(width, strides, acoustic)
        check_integers(1, MAX_SIZE, dim=dim)
        if width % (1 << len(strides)):
            raise InputError(f"expected a width that {len(strides)} stages can halve, got {width}")
        self.channels, self.dim, self.stride = 1, dim, (prod(strides),)
        self.strides = tuple(strides)
        widths = [width >> stage for stage in range(len(strides) + 1)]
        self.fc2 = nn.Linear(dim, acoustic)
        self.model = nn.Sequential(
            nn.Conv1d(acoustic, width, KERNEL, padding=KERNEL // 2),
            *map(DecoderStage, widths, widths[1:], strides),
            Snake(widths[-1]),
            nn.Conv1d(widths[-1], 1, KERNEL, padding=KERNEL // 2),
        )

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Latent frames before and after on which a block of `stride` samples depends."""
        return (decoder_reach(self.strides, KERNEL // 2),)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """(B, dim, F) to (B, 1, F × stride)."""
        out: Tensor = self.model(self.fc2(z.transpose(1, 2)).transpose(1, 2))
        return out
